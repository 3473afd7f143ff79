# SPDX-License-Identifier: Apache-2.0
"""The person of a standalone update: installs, reboots and commits; and looks after the board once power is back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from harness.clock import Deadline, pause, poll
from harness.errors import GuestFault, Inconclusive
from harness.lab.applications import ApplicationRig
from harness.lab.observe import UP
from harness.lab.operator import INSTALLED, PLACE, run_updater
from harness.lab.rig import LOOK_SECONDS

ASKS: Final = re.compile(rb"An update that was begun by hand is not finished\. ([^\r\n]+)")
BUSY: Final = "being installed at this moment"
BUSY_SECONDS: Final = 1.0  # before the next try


def install(rig: ApplicationRig) -> None:
    """Install what lies on the data partition, and reboot into it."""
    _runs(rig, f"install {PLACE}")
    _reboot(rig)


def commit(rig: ApplicationRig) -> None:
    """Keep what was installed."""
    _runs(rig, "commit")


def look_after(
    rig: ApplicationRig, commits: Callable[[], None] = lambda: None, kept: Callable[[], None] = lambda: None
) -> None:
    """See what the board came back with, and do what it asks for; `commits` is called right before a commit, and `kept`
    right after it.

    Raises:
        ClaimViolated: it refuses what it asked for.
    """
    since = datetime.now(UTC)

    def asks_or_settled() -> bool:
        return ASKS.search(rig.board.console.text) is not None or rig.has_settled(since)

    poll(asks_or_settled, Deadline(rig.timeouts.settle), every=LOOK_SECONDS)
    asked = ASKS.search(rig.board.console.text)
    if asked is None:
        return
    if b"commit" not in asked.group(1):
        if INSTALLED not in _runs(rig, "resume"):
            return
        _reboot(rig)
    commits()
    commit(rig)
    kept()


def _reboot(rig: ApplicationRig) -> None:
    """In good order, and wait until it has come up once more."""

    def starts() -> int:
        return len(UP.findall(rig.board.console.text))

    before = starts()
    rig.soft_reboot()
    if not poll(lambda: starts() > before, rig.deadline(), every=LOOK_SECONDS):
        raise GuestFault("The board did not come up after it was rebooted.")


def _runs(rig: ApplicationRig, command: str) -> str:
    """Run one command of the updater, once more while its daemon is at work; returns what it printed."""
    ended, printed = run_updater(rig, command)
    while BUSY in printed:
        pause(BUSY_SECONDS)
        ended, printed = run_updater(rig, command)
    if ended is None:
        raise Inconclusive(f"'mender-update {command}' was not seen to end: {printed.strip()[-200:]}")
    rig.claim_that(ended == 0, f"'mender-update {command}' succeeds (it says {printed.strip()[-300:]!r})")
    return printed
