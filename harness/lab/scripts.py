# SPDX-License-Identifier: Apache-2.0
"""The state scripts of a board that runs a scripted version: what each is to do, and in which order they ran."""

from __future__ import annotations

import re

from harness.lab.lab import Lab
from images.statescripts import DOES, FIRST, RAN

# What an updater does while there is no work: whole rounds, and the rest of one at the beginning and at the end.
ROUND = "(Idle_Enter Idle_Leave Sync_Enter Sync_Leave )"
ROUNDS = f"{ROUND}*"
UNDER_WAY = "(Idle_Leave )?(Sync_Enter )?(Sync_Leave )?(Sync_Error )?"
AT_WORK = "(Idle_Enter (Idle_Leave (Sync_Enter )?)?)?"
FETCHED = "Download_Enter Download_Enter_05_second Download_Leave"
ENTERED = "ArtifactInstall_Enter ArtifactInstall_Enter_05_second"
INSTALLED = f"{ENTERED} ArtifactInstall_Leave"
REBOOTED = "ArtifactReboot_Enter ArtifactReboot_Leave"
COMMITTED = "ArtifactCommit_Enter ArtifactCommit_Leave"
ROLLED_BACK = "ArtifactRollback_Enter ArtifactRollback_Leave"
REBOOTED_BACK = "ArtifactRollbackReboot_Enter ArtifactRollbackReboot_Leave"
FAILED = "ArtifactFailure_Enter ArtifactFailure_Leave"


class StateScripts:
    """Tells the scripts of one board what to do."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab

    def begin(self) -> None:
        """Forget what ran, and have every script succeed."""
        self._lab.run(f"rm -rf {DOES}; mkdir -p {DOES} && : >{RAN} && sync")

    def does(self, script: str, command: str, *, times: int | None = None) -> None:
        """Have the script of a transition do this, every time or so many times; then it succeeds."""
        place = f"{DOES}/{script}{FIRST}"
        if times is not None:
            command = (
                f"left=$(($(cat {place}.left) - 1)); echo $left >{place}.left\n"
                f"[ $left -gt 0 ] || rm {place}; sync\n{command}"
            )
            self._lab.run(f"echo {times} >{place}.left")
        self._lab.write(command, place)

    def resets_the_board(self, script: str) -> None:
        """Have the script of a transition reset the board, once: nothing is written any more."""
        self.does(script, "echo b >/proc/sysrq-trigger; sleep 60", times=1)

    def wait_for(self, script: str, times: int) -> None:
        """Wait until the script of a transition has run so many times since the beginning."""
        self._lab.run(f"until [ $(grep -c '^{script}{FIRST}$' {RAN}) -ge {times} ]; do sleep 0.2; done")

    def claim(self, *course: str, before: str = ROUNDS) -> None:
        """These scripts ran, in this order and no others, between the rounds of an updater that has no work.

        At the beginning a round may have been under way.

        Raises:
            ClaimViolated: they did not.
        """
        ran = "".join(f"{name.removesuffix(FIRST)} " for name in self._lab.run(f"cat {RAN}").split())
        wanted = " ".join(course)
        held = re.fullmatch(f"{UNDER_WAY}{before}{wanted} {ROUNDS}{AT_WORK}", ran)
        self._lab.claim_that(held is not None, f"the scripts ran as they should: {wanted} (they ran: {ran.strip()})")
