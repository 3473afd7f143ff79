# SPDX-License-Identifier: Apache-2.0
"""Does the device run the system that was kept?  Looked at at every start, when no update is under way.

If both copies of the bootloader's environment are lost, the bootloader takes its built-in one and boots slot A,
whatever was installed since.  A device that does not notice runs stale software under a new name.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, replace
from enum import StrEnum

from updater.bootenv import BootEnv, BootState
from updater.errors import BootEnvLost, UpdaterError
from updater.machine.actions import INCONSISTENT, REBOOT_LIMIT
from updater.ports import Clock, Runner
from updater.slots import OTHER, Slots
from updater.store import Device, Store

RETURNS_LIMIT = 2  # tries to get back to the slot that was kept
RESTORED, RETURNED, STALE = "environment_restored", "returned_to_kept_slot", "kept_slot_lost"
log = logging.getLogger(__name__)


class Finding(StrEnum):
    """How things are."""

    FINE = "fine"
    UNKNOWN = "unknown"  # nobody has said yet which slot was kept; the one that runs, then
    RETURNED = "returned"  # the kept slot runs, on the trial that brought it back
    STALE = "stale"  # another slot than the kept one runs, and would boot again
    OPEN = "open"  # something is on trial that nobody here began, or another slot would boot than the one that runs


def examine(kept: str, running: str, state: BootState) -> Finding:
    """Compare what was kept with what runs and what would boot."""
    if state.upgrade_available:
        return Finding.RETURNED if kept == running == state.active else Finding.OPEN
    if not kept:
        return Finding.UNKNOWN if running == state.active else Finding.OPEN
    if running == kept:
        return Finding.FINE if running == state.active else Finding.OPEN
    return Finding.STALE if running == state.active else Finding.OPEN


@dataclass(frozen=True)
class Keeper:
    """Looks, and mends; the way back to the kept slot is a trial like any other, so it cannot end in a dead system."""

    store: Store
    env: BootEnv
    slots: Slots
    runner: Runner
    clock: Clock

    def look(self) -> None:
        """Mend what can be mended, and note what was; may end in a reboot.

        Raises:
            UpdaterError: it cannot be found out, or not be mended.
        """
        device = self.store.load()
        if device.update is not None:
            return
        running = self.slots.running()
        try:
            state = self.env.read()
        except BootEnvLost as error:
            log.error("%s  It is written anew.", error)
            self.env.initialise(running)
            device = self._noted(device, RESTORED)
            state = self.env.read()
        finding = examine(device.slot, running, state)
        if finding is Finding.UNKNOWN:
            self.store.save(replace(device, slot=running))
        elif finding is Finding.RETURNED:
            log.warning("slot %s, which was kept, runs again", running)
            self.env.commit()
            self._noted(replace(device, returns=0), RETURNED)
        elif finding is Finding.STALE:
            self._go_back(device, running)
        elif finding is Finding.OPEN:
            self._close(device, running, state)

    def check(self) -> None:
        """May something be installed now?  If that cannot be found out, applications may: they could mend it.

        Raises:
            UpdaterError: not before the device has been rebooted.
        """
        try:
            running, state = self.slots.running(), self.env.read()
        except UpdaterError as error:
            log.warning("no system can be installed: %s", error)
            return
        if state.active != running:
            raise UpdaterError(f"Slot {running} runs, and slot {state.active} would boot; reboot the device first.")

    def _close(self, device: Device, running: str, state: BootState) -> None:
        """End what an update that is no more has left open."""
        kept = device.slot
        if not kept and state.upgrade_available:  # what was kept is forgotten; it is the slot that is not on trial
            kept = OTHER[state.active]
        if running == kept:
            log.error("slot %s runs and was kept, and slot %s would boot; that is undone", running, state.active)
            self.env.restore(running)
        elif kept and running == state.active and device.returns < RETURNS_LIMIT:
            log.error("slot %s is on trial, and nobody works for it any more", running)
            self.store.save(replace(device, returns=device.returns + 1))
            self.env.restore(kept)
            self._reboot()

    def _go_back(self, device: Device, running: str) -> None:
        if device.returns >= RETURNS_LIMIT:
            log.error("slot %s runs, and slot %s, which was kept, does not come up any more", running, device.slot)
            name = device.artifact_name.removesuffix(INCONSISTENT) + INCONSISTENT
            provides = {**device.provides, "artifact_name": name}
            self._noted(replace(device, slot=running, returns=0, provides=provides), STALE)
            return
        log.error("slot %s runs although slot %s was kept; going back to it", running, device.slot)
        self._noted(replace(device, returns=device.returns + 1), RESTORED)
        self.env.initialise(running)  # whatever the bootloader fell back to, both copies are whole from now on
        self.env.flip(device.slot)
        self._reboot()

    def _reboot(self) -> None:
        self.runner.run(["reboot"])
        self.clock.sleep(REBOOT_LIMIT)
        raise UpdaterError("The device was told to reboot and did not.")

    def _noted(self, device: Device, incident: str) -> Device:
        counts = {**device.incidents, incident: device.incidents.get(incident, 0) + 1}
        return self.store.save(replace(device, incidents=counts))
