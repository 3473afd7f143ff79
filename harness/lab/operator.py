# SPDX-License-Identifier: Apache-2.0
"""A person at the board, who updates it by command, without the server."""

from __future__ import annotations

import re
from pathlib import Path

from harness.errors import HarnessBug
from harness.judge import Slot
from harness.lab.lab import Lab
from harness.lab.rig import Rig

PLACE = "/data/update.mender"
STICK = "/run/stick"  # where a stick is mounted
PRINTED = "/tmp/operator"  # what a command printed that was begun and not waited for
ENDED = re.compile(r"\nended with (\d+)\n\Z")
INSTALLED = "Installed, but not committed"
REFUSED = "Streaming failed.\nSystem not modified."


def run_updater(rig: Rig, command: str) -> tuple[int | None, str]:
    """Run one command of the updater; returns its status (None: it was not seen to end) and what it printed."""
    return _ended(rig.run(_whole(command)))


class Operator:
    """Runs the updater's commands on one board."""

    def __init__(self, lab: Lab) -> None:
        self._lab = lab
        self._begun = ""

    def brings(self, version: str) -> str:
        """Copy a version's artifact to the board; it is the new one from now on.  Returns the file."""
        self._lab.expects(version)
        return self.brings_file(self._lab.catalogue.artifact(version))

    def brings_file(self, file: Path) -> str:
        """Copy an artifact to the board.  Returns the file there."""
        self._lab.put(file, PLACE)
        return PLACE

    def offers(self, version: str) -> str:
        """Have this machine offer a version's artifact, which is the new one from now on.  Returns the address."""
        self._lab.expects(version)
        return self._lab.offer(self._lab.catalogue.artifact(version))

    def brings_a_stick(self, version: str) -> str:
        """Switch the board off, plug a stick with a version's artifact in, and switch it on again.

        The version is the new one from now on.  Returns the file on the stick, which is mounted.
        """
        artifact = self._lab.catalogue.artifact(version)
        self._lab.expects(version)
        self._lab.switch_off("Switch the board off to plug a stick in")
        self._lab.plug_in(artifact)
        self._lab.power_on()
        self._lab.wait_up()
        self._lab.run(f"mkdir -p {STICK} && mount -r -t ext4 $(findfs LABEL=stick) {STICK}")
        return f"{STICK}/{artifact.name}"

    def runs(self, command: str, *, code: int = 0, says: str = "", because: str = "") -> None:
        """Run one command of the updater; it ends with that status, and what it prints and logs holds these texts.

        Raises:
            ClaimViolated: it ends otherwise, or says something else.
        """
        self._claim(command, run_updater(self._lab, command), code, says, because)

    def begins(self, command: str) -> None:
        """Begin one command of the updater, and do not wait for its end."""
        self._begun = command
        self._lab.run(f"({_whole(command)}) >{PRINTED} </dev/null 2>/dev/null &")

    def sees_it_end(self, *, code: int = 0, says: str = "", because: str = "") -> None:
        """Wait for the end of the command that was begun; as `runs`.

        Raises:
            ClaimViolated: it ends otherwise, or says something else.
        """
        if not self._begun:
            raise HarnessBug("No command was begun.")
        printed = self._lab.run(f"until grep -q '^ended with' {PRINTED}; do sleep 0.2; done; cat {PRINTED}")
        self._claim(self._begun, _ended(printed), code, says, because)
        self._begun = ""

    def reboots(self) -> Slot:
        """Reboot the board in good order; returns the slot that comes up."""
        self._lab.soft_reboot()
        return self._lab.wait_up()

    def _claim(self, command: str, done: tuple[int | None, str], code: int, *texts: str) -> None:
        ended, printed = done
        missing = [text for text in texts if text not in printed]
        claim = f"'mender-update {command}' ends with {code}" + "".join(f" and says {text!r}" for text in texts if text)
        held = ended == code and not missing
        self._lab.claim_that(held, claim if held else f"{claim} (it ends with {ended} and says {printed.strip()!r})")


def _whole(command: str) -> str:
    return f"mender-update {command} 2>&1; code=$?; echo; echo ended with $code"


def _ended(printed: str) -> tuple[int | None, str]:
    found = ENDED.search(printed)
    return int(found.group(1)) if found else None, printed
