# SPDX-License-Identifier: Apache-2.0
"""What can go wrong, by whose fault it is.

BootproofError
├── HostProblem      this machine lacks or refuses something
├── HarnessBug       this program is used wrongly, or is wrong
├── GuestFault       the board did what no board should, or did nothing in time
├── ClaimViolated    a claim of a scenario does not hold: the finding a run is for
├── Inconclusive     the run does not allow a verdict (the fault did not fire, the log is unusable)
└── UsageError       somebody asked for what does not exist
"""

from __future__ import annotations

from harness.exitcodes import ExitCode


class BootproofError(Exception):
    """An error with one sentence that says what is wrong, and one that says what to do next."""

    exit_code = ExitCode.HOST

    def __init__(self, message: str, next_step: str = "") -> None:
        super().__init__(f"{message} {next_step}".strip())
        self.message = message
        self.next_step = next_step


class HostProblem(BootproofError):
    """This machine lacks or refuses something that is needed."""


class HarnessBug(BootproofError):
    """The harness contradicts itself."""


class GuestFault(BootproofError):
    """The board did what no board should, or did not do in time what it should."""

    exit_code = ExitCode.VIOLATED


class ClaimViolated(BootproofError):
    """A claim does not hold."""

    exit_code = ExitCode.VIOLATED


class Inconclusive(BootproofError):
    """No verdict is possible; saying 'held' would be a lie."""

    exit_code = ExitCode.INCONCLUSIVE


class UsageError(BootproofError):
    """Somebody asked for what does not exist."""

    exit_code = ExitCode.USAGE
