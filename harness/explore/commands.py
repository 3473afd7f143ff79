# SPDX-License-Identifier: Apache-2.0
"""An update of which nothing is known but what somebody types on the board for it."""

from __future__ import annotations

from dataclasses import dataclass

from harness.board.keyboard import PROMPT


@dataclass(frozen=True)
class Commands:
    """What is typed on the serial console.

    Attributes:
        run: installs the update; a reboot follows, unless the board has begun one itself.
        then: typed after each start, whatever its exit code; empty: nothing.
        check: must end with 0 once the update, or a recovery, is over; empty: nothing is checked.
        ready: a regular expression; when the console has shown it the board is up.
    """

    run: str
    then: str = ""
    check: str = ""
    ready: str = PROMPT
