# SPDX-License-Identifier: Apache-2.0
"""The person of a standalone update: installs, reboots and commits; and looks after the board once power is back."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from harness.clock import Deadline, poll
from harness.errors import Inconclusive
from harness.lab.applications import ApplicationRig
from harness.lab.rig import LOOK_SECONDS

PLACE: Final = "/data/update.mender"
WAITS: Final = re.compile(rb"An update that was begun by hand is not finished")
ENDED: Final = re.compile(r"\nended with (\d+)\n\Z")


def install(rig: ApplicationRig) -> None:
    """Install what lies on the data partition, and reboot into it."""
    _runs(rig, f"install {PLACE}")
    rig.soft_reboot()
    rig.wait_up()


def commit(rig: ApplicationRig) -> None:
    """Keep what was installed."""
    _runs(rig, "commit")


def look_after(rig: ApplicationRig, commits: Callable[[], None] = lambda: None) -> None:
    """See what the board came back with, and commit what waits for somebody; `commits` is called right before.

    Raises:
        ClaimViolated: the commit fails.
    """
    since = datetime.now(UTC)

    def waits_or_settled() -> bool:
        return WAITS.search(rig.board.console.text) is not None or rig.has_settled(since)

    poll(waits_or_settled, Deadline(rig.timeouts.settle), every=LOOK_SECONDS)
    if WAITS.search(rig.board.console.text):
        commits()
        commit(rig)


def _runs(rig: ApplicationRig, command: str) -> None:
    printed = rig.run(f"mender-update {command} 2>&1; code=$?; echo; echo ended with $code")
    found = ENDED.search(printed)
    if found is None:
        raise Inconclusive(f"'mender-update {command}' was not seen to end: {printed.strip()[-200:]}")
    rig.claim_that(found.group(1) == "0", f"'mender-update {command}' succeeds (it says {printed.strip()!r})")
