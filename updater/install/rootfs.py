# SPDX-License-Identifier: Apache-2.0
"""Installs a root file system image into the slot that does not run.

The image is streamed: it is never stored anywhere but in the slot.  Before the caller may flip, everything is on the
medium and has been read back from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from updater.bootenv import BootEnv
from updater.errors import BootEnvLost, InstallRefused, UpdaterError
from updater.install.installer import Reboot
from updater.ports import Marks
from updater.slots import CHUNK, OTHER, Slots, SlotWriter
from updater.store import Update

if TYPE_CHECKING:  # most starts of a device install nothing
    from updater.artifact import Artifact

PAYLOAD_TYPE = "rootfs-image"
log = logging.getLogger(__name__)


@dataclass
class RootfsImage:
    """The root file system of one update; `update` says which slot it came from and which it goes to."""

    env: BootEnv
    slots: Slots
    marks: Marks
    update: Update
    restarts_allowed: bool = False  # a start on trial need not cost the update

    def planned(self, update: Update, _: Artifact) -> Update:
        """Choose the slot, and see that nothing stands in the way of writing it.

        Raises:
            InstallRefused: another update is on trial, or what runs is not what would boot.
        """
        running = self.slots.running()
        try:
            state = self.env.read()
        except BootEnvLost as error:
            log.warning("%s  It is written anew.", error)
            self.env.initialise(running)
            state = self.env.read()
        if state.upgrade_available:
            raise InstallRefused("Another update is on trial, so none can be installed now.")
        if state.active != running:
            raise InstallRefused(f"Slot {running} runs, but the bootloader would boot slot {state.active}.")
        self.update = replace(update, origin=running, target=OTHER[running])
        return self.update

    def download(self, artifact: Artifact, _asks_for_sizes: bool) -> None:
        with self.slots.writer(self.update.target) as slot:
            write_image(artifact, slot, self.marks)

    def call(self, state: str) -> None:
        work: dict[str, Callable[[], None]] = {
            "ArtifactInstall": self._flip,
            "ArtifactVerifyReboot": self._verify_reboot,
            "ArtifactCommit": self._commit,
            "ArtifactRollback": self._roll_back,
            "ArtifactVerifyRollbackReboot": self._verify_rollback,
        }
        work.get(state, lambda: None)()

    def reboot(self) -> Reboot:
        return Reboot.AUTOMATIC

    def can_roll_back(self) -> bool:
        return True

    def rollback_needs_reboot(self, _: Reboot) -> bool:
        return bool(self.update.origin) and self.slots.running() != self.update.origin

    def on_trial(self) -> bool:
        return self._found(trial=True, slot=self.update.target)

    def kept(self) -> bool:
        return self._found(trial=False, slot=self.update.target)

    def restored(self) -> bool:
        return not self.update.origin or self._found(trial=False, slot=self.update.origin)

    def abandon(self) -> None:
        """See that the next boot takes the old slot."""
        try:
            self._roll_back()
        except UpdaterError as error:
            log.error("%s", error)

    def _found(self, *, trial: bool, slot: str) -> bool:
        """Whether `slot` runs and is what would boot, on trial or not."""
        try:
            state, running = self.env.read(), self.slots.running()
        except UpdaterError as error:
            log.error("%s", error)
            return False
        return bool(slot) and state.upgrade_available == trial and running == state.active == slot

    def _flip(self) -> None:
        self.marks.put("install.flip")
        self.env.flip(self.update.target)
        self.marks.put("install.flipped")

    def _verify_reboot(self) -> None:
        if not self.on_trial():
            raise UpdaterError("The new system did not come up, or is not on trial.")

    def _commit(self) -> None:
        self._verify_reboot()
        self.marks.put("commit.begin")
        self.env.commit()
        self.marks.put("commit.done")

    def _roll_back(self) -> None:
        """Make the old slot the one that boots, unless the bootloader has done so already."""
        state = self.env.read()
        if self.update.origin and (state.upgrade_available or state.active != self.update.origin):
            self.marks.put("rollback.restore")
            self.env.restore(self.update.origin)
            self.marks.put("rollback.restored")

    def _verify_rollback(self) -> None:
        if not self.restored():
            raise UpdaterError("The old system does not run, or is not what would boot.")


def write_image(artifact: Artifact, slot: SlotWriter, marks: Marks) -> None:
    """Write the payload, flush it, and read it back.

    Raises:
        ArtifactError: the artifact is damaged; the slot may hold a part of it.
        InstallRefused: the image does not fit into the slot.
        UpdaterError: the medium does not hold what was written.
    """
    for file in artifact.files():
        if not file.size:  # nobody would look at it again, and the flip would go to whatever the slot holds
            raise InstallRefused("The image is empty, so there is nothing to install.")
        if file.size > slot.capacity:
            raise InstallRefused(f"The image has {file.size} bytes and the slot only {slot.capacity}.")
        marks.put("slot.write")
        log.info("writing %s (%d bytes) to %s", file.name, file.size, slot.device)
        while chunk := file.read(CHUNK):
            slot.write(chunk)
    marks.put("slot.written")
    slot.flush()
    marks.put("slot.flushed")
    slot.read_back()
    marks.put("slot.verified")
