# SPDX-License-Identifier: Apache-2.0
"""Installs a root file system image into the slot that does not run.

The image is streamed: it is never stored anywhere but in the slot.  Before the caller may flip, everything is on the
medium and has been read back from it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, replace
from typing import TYPE_CHECKING, Any

from updater.bootenv import BootEnv
from updater.errors import BootEnvLost, InstallRefused, UpdaterError
from updater.install.installer import Progress, Reboot
from updater.ports import Marks
from updater.slots import CHUNK, OTHER, Slots, SlotWriter
from updater.store import Update

if TYPE_CHECKING:  # most starts of a device install nothing
    from updater.artifact import Artifact, PayloadFile, RestartPoint

PAYLOAD_TYPE = "rootfs-image"
CHECKPOINT = 8 * 1024 * 1024
"""Bytes between two places from which a later life can go on."""
FINGERPRINT = "blocks"
"""Under this name, what stands for the slot's content is saved with a restart point."""
log = logging.getLogger(__name__)


@dataclass
class RootfsImage:
    """The root file system of one update; `update` says which slot it came from and which it goes to."""

    env: BootEnv
    slots: Slots
    marks: Marks
    update: Update
    restarts_allowed: bool = False  # a start on trial need not cost the update
    goes_on: bool = True
    skip_unchanged: bool = False  # look at each block of the slot before it is written

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

    def download(self, artifact: Artifact, _asks_for_sizes: bool, progress: Progress | None) -> None:
        with self.slots.writer(self.update.target, skip_unchanged=self.skip_unchanged) as slot:
            write_image(artifact, slot, self.marks, progress)
            if slot.skipped:
                log.info("%d blocks were there already, and were not written again", slot.skipped)

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
        return not self.restored()

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
            self.abandon()
            raise UpdaterError("The old system does not run, or is not what would boot.")


def write_image(artifact: Artifact, slot: SlotWriter, marks: Marks, progress: Progress | None = None) -> None:
    """Write the payload, flush it, and read it back.

    With `progress`, what is written becomes durable every CHECKPOINT bytes, and the next life goes on from there.
    If it cannot, because the artifact is another or what is in the slot is not what was written, it begins anew.

    Raises:
        ArtifactError: the artifact is damaged; the slot may hold a part of it.
        InstallRefused: the image does not fit into the slot.
        UpdaterError: the medium does not hold what was written.
    """
    if progress is None or progress.saved is None or not _went_on(artifact, slot, marks, progress, progress.saved):
        for file in artifact.files():
            _write(file, slot, marks, progress)
    marks.put("slot.written")
    slot.flush()
    marks.put("slot.flushed")
    slot.read_back()
    marks.put("slot.verified")


def _went_on(artifact: Artifact, slot: SlotWriter, marks: Marks, progress: Progress, saved: Mapping[str, Any]) -> bool:
    """Write the rest from where an earlier life was; False if it must be written from the beginning after all."""
    from updater.artifact import ArtifactError

    try:
        point = _regained(slot, saved)
        for file in artifact.resumed(point, progress.reopen(point.place), slot.content):
            log.info("going on at byte %d of %s", point.done, file.name)
            marks.put("slot.resumed")
            _write(file, slot, marks, progress)
    except ArtifactError as error:
        log.warning("the download cannot go on where it stopped, so it begins anew: %s", error)
        slot.go_on_at(0)
        return False
    return True


def _regained(slot: SlotWriter, saved: Mapping[str, Any]) -> RestartPoint:
    """The point that was saved, and the slot ready to be written on from there.

    Raises:
        ArtifactError: it is no point, or the slot does not hold what it held then.
    """
    from updater.artifact import ArtifactError, RestartPoint

    point = RestartPoint.of(saved)
    try:
        slot.go_on_at(point.done)
    except UpdaterError as error:
        raise ArtifactError(str(error)) from error
    # Damage would be found at the end in any case; here it costs no download.
    if slot.fingerprint(point.done) != saved.get(FINGERPRINT):
        raise ArtifactError(f"the slot does not hold the {point.done} bytes that were written")
    return point


def _write(file: PayloadFile, slot: SlotWriter, marks: Marks, progress: Progress | None) -> None:
    if not file.size:  # nobody would look at it again, and the flip would go to whatever the slot holds
        raise InstallRefused("The image is empty, so there is nothing to install.")
    if file.size > slot.capacity:
        raise InstallRefused(f"The image has {file.size} bytes and the slot only {slot.capacity}.")
    marks.put("slot.write")
    log.info("writing %s (%d bytes) to %s", file.name, file.size, slot.device)
    looked_at, last = slot.written, None
    while chunk := file.read(CHUNK):
        slot.write(chunk)
        if progress is not None and slot.written - looked_at >= CHECKPOINT:
            looked_at, last = slot.written, _checkpoint(file, slot, marks, progress, last)


def _checkpoint(
    file: PayloadFile, slot: SlotWriter, marks: Marks, progress: Progress, last: RestartPoint | None
) -> RestartPoint | None:
    """Make durable what is written and save the point it reaches, unless that is still the last; returns the point."""
    if file.restart_point(slot.written) in (None, last):  # a flush would be for nothing
        return last
    point = file.restart_point(slot.checkpoint())
    if point is not None:
        marks.put("slot.checkpoint")
        progress.save({**asdict(point), FINGERPRINT: slot.fingerprint(point.done)})
    return point
