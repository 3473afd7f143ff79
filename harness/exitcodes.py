# SPDX-License-Identifier: Apache-2.0
"""What the commands end with."""

from enum import IntEnum


class ExitCode(IntEnum):
    """One code for one meaning; never a count."""

    HELD = 0  # every claim held
    VIOLATED = 1  # a claim did not hold
    USAGE = 2  # the command was called wrongly
    INCONCLUSIVE = 3  # the run does not allow a verdict
    HOST = 4  # this machine or the harness is at fault
    INTERRUPTED = 130
