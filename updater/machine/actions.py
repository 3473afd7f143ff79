# SPDX-License-Identifier: Apache-2.0
"""The work of each state for a root file system update.

Each action takes what is stored, does its work, and says what is to be stored next and how it ended.  All of them may
be repeated: after a power cut the same action can find its work done, half done or not begun.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from updater.bootenv import BootEnv
from updater.errors import DeploymentAborted, InstallRefused, ServerError, UpdaterError
from updater.machine.backoff import delays
from updater.machine.engine import Action
from updater.machine.tables import Event, State
from updater.ports import Clock, Marks, Runner
from updater.server.download import Download
from updater.server.session import UNAUTHORIZED, Deployment, Session
from updater.slots import OTHER, Slots
from updater.store import Device, Update

REBOOT_LIMIT = 600.0  # seconds after which a reboot that did not come counts as failed
WORTH_ANOTHER_TRY = (UNAUTHORIZED, 408, 429)  # not let in at present, too slow, too often
INCONSISTENT = "_INCONSISTENT"
log = logging.getLogger(__name__)
Done = tuple[Device, Event]


@dataclass(frozen=True)
class World:
    """Everything an action may touch."""

    session: Session
    env: BootEnv
    slots: Slots
    runner: Runner
    clock: Clock
    marks: Marks
    verify_keys: tuple[Path, ...]
    device_type: str
    retry_poll: float
    retry_count: int
    download_tries: int
    deployment_log: Callable[[str], list[dict[str, str]]] = lambda _: []


class Actions:
    """The table of actions, by state; `deployment` is what the server asked for, if this run began with asking."""

    def __init__(self, world: World, deployment: Deployment | None = None) -> None:
        self.world = world
        self.deployment = deployment

    def table(self) -> Mapping[State, Action]:
        return {
            State.DOWNLOAD: self.download,
            State.INSTALL: self.install,
            State.VERIFY_INSTALL: self.verify_reboot,
            State.REBOOT: self.reboot,
            State.VERIFY_REBOOT: self.verify_reboot,
            State.COMMIT: self.commit,
            State.VERIFY_COMMIT: self.verify_commit,
            State.AFTER_COMMIT: self.after_commit,
            State.ROLLBACK: self.rollback,
            State.ROLLBACK_REBOOT: self.rollback_reboot,
            State.VERIFY_ROLLBACK: self.verify_rollback,
            State.FAILURE: self.failure,
            State.CLEANUP: self.cleanup,
            State.REPORT: self.report,
        }

    def download(self, device: Device) -> Done:
        """Stream the artifact into the slot that does not run."""
        from updater.artifact import ArtifactError

        try:
            self._tell(_update(device), "downloading")
            running = self._running_as_booted()
            update = replace(_update(device), origin=running, target=OTHER[running])
            provides = self._fetch(device, update.target)
        except DeploymentAborted as error:
            return self._aborted(device, error)
        except (UpdaterError, ArtifactError, OSError) as error:  # the medium too may fail
            log.error("download failed: %s", error)
            return _outcome(device, "failure"), Event.FAILED
        return replace(device, update=replace(update, provides=provides)), Event.DONE

    def _running_as_booted(self) -> str:
        state, running = self.world.env.read(), self.world.slots.running()
        if state.upgrade_available:
            raise InstallRefused("Another update is on trial, so none can be installed now.")
        if state.active != running:
            raise InstallRefused(f"Slot {running} runs, but the bootloader would boot slot {state.active}.")
        return running

    def _fetch(self, device: Device, target: str) -> dict[str, str]:
        """Write the artifact into `target`; returns what the device provides once it is kept."""
        # Loaded here, because every start of the device would pay for it.
        from updater.artifact import apply_provides
        from updater.install.rootfs import open_artifact, verify_keys, write_image

        assert self.deployment is not None
        world, wanted = self.world, self.deployment
        world.marks.put("download.begin")
        keys = verify_keys(world.verify_keys)
        pauses = delays(world.retry_poll, world.download_tries)
        download = Download(world.session.connector, wanted.uri, world.clock, pauses)
        try:
            artifact = open_artifact(download, keys, device, world.device_type)
            if artifact.name != wanted.artifact_name:
                raise InstallRefused(f"The server announced '{wanted.artifact_name}' and sent '{artifact.name}'.")
            with world.slots.writer(target) as slot:
                write_image(artifact, slot, world.marks)
        finally:
            download.close()
        return apply_provides(device.provides, artifact)

    def install(self, device: Device) -> Done:
        """The flip: one write of the bootloader's environment."""
        update = _update(device)
        try:
            self._tell(update, "installing")
            self.world.marks.put("install.flip")
            self.world.env.flip(update.target)
            self.world.marks.put("install.flipped")
        except DeploymentAborted as error:
            return self._aborted(device, error)
        except UpdaterError as error:
            log.error("the flip failed: %s", error)
            return device, Event.FAILED
        return device, Event.DONE

    def reboot(self, device: Device) -> Done:
        """Start the new system; if this returns, it did not happen."""
        try:
            self._tell(_update(device), "rebooting")
        except DeploymentAborted as error:
            log.error("%s", error)
            return device, Event.ABORTED
        return self._restart(device)

    def _restart(self, device: Device) -> Done:
        self.world.marks.put("reboot")
        try:
            self.world.runner.run(["reboot"])
            self.world.clock.sleep(REBOOT_LIMIT)
        except UpdaterError as error:
            log.error("%s", error)
        return device, Event.FAILED

    def verify_reboot(self, device: Device) -> Done:
        """Is it the new system that runs, and on trial?"""
        try:
            state, running = self.world.env.read(), self.world.slots.running()
        except UpdaterError as error:
            log.error("%s", error)
            return device, Event.FAILED
        good = state.upgrade_available and running == state.active == _update(device).target
        if not good:
            log.error("slot %s runs, so the new system did not come up", running)
        return device, Event.DONE if good else Event.FAILED

    def commit(self, device: Device) -> Done:
        """Keep the new system, but only once the server has heard from it."""
        update = _update(device)
        try:
            self.world.session.forget_token()
            self._must_tell(update, "installing")
            self.world.marks.put("commit.begin")
            self.world.env.commit()
            self.world.marks.put("commit.done")
        except UpdaterError as error:
            log.error("the update is not kept: %s", error)
            return device, Event.ABORTED if isinstance(error, DeploymentAborted) else Event.FAILED
        return device, Event.DONE

    def verify_commit(self, device: Device) -> Done:
        """After a failure or a power cut around the commit: has the bootloader's environment been written or not?"""
        try:
            state, running = self.world.env.read(), self.world.slots.running()
        except UpdaterError as error:
            log.error("%s", error)
            return device, Event.FAILED
        kept = not state.upgrade_available and running == state.active == _update(device).target
        return device, Event.DONE if kept else Event.FAILED

    def after_commit(self, device: Device) -> Done:
        """The new system is kept; remember what it provides."""
        return _outcome(replace(device, provides=dict(_update(device).provides)), "success"), Event.DONE

    def rollback(self, device: Device) -> Done:
        """Make the old slot the one that boots, unless the bootloader has done so already."""
        update = _update(device)
        try:
            state, running = self.world.env.read(), self.world.slots.running()
            if update.origin and (state.upgrade_available or state.active != update.origin):
                self.world.marks.put("rollback.restore")
                self.world.env.restore(update.origin)
                self.world.marks.put("rollback.restored")
        except UpdaterError as error:
            log.error("the rollback failed: %s", error)
            return device, Event.FAILED
        needed = bool(update.origin) and running != update.origin
        return device, Event.REBOOT_NEEDED if needed else Event.DONE

    def rollback_reboot(self, device: Device) -> Done:
        """Start the old system; if this returns, it did not happen."""
        return self._restart(device)

    def verify_rollback(self, device: Device) -> Done:
        """Is it the old system that runs, and not on trial?"""
        try:
            state, running = self.world.env.read(), self.world.slots.running()
        except UpdaterError as error:
            log.error("%s", error)
            return device, Event.FAILED
        good = not state.upgrade_available and running == state.active == _update(device).origin
        return device, Event.DONE if good else Event.FAILED

    def failure(self, device: Device) -> Done:
        """The update has failed; say so if it is not certain that the old system is what runs."""
        update = _update(device)
        try:
            state, running = self.world.env.read(), self.world.slots.running()
            certain = not update.origin or (running == state.active == update.origin and not state.upgrade_available)
        except UpdaterError as error:
            log.error("%s", error)
            certain = False
        if not certain:
            name = (update.artifact_name or device.artifact_name) + INCONSISTENT
            device = replace(device, provides={**device.provides, "artifact_name": name})
        return _outcome(device, "failure"), Event.DONE

    def cleanup(self, device: Device) -> Done:
        """Nothing of a root file system update needs to be cleaned; an update that got no further has failed."""
        return device if _update(device).outcome else _outcome(device, "failure"), Event.DONE

    def report(self, device: Device) -> Done:
        """Tell the server how it ended, for as long as it takes: an outcome is never forgotten."""
        update = _update(device)
        final = update.outcome or "failure"
        while True:
            try:
                self.world.marks.put(f"report.{final}")
                self.world.session.status(update.deployment, final)
                messages = self.world.deployment_log(update.deployment) if final == "failure" else []
                if messages:  # servers refuse an empty log
                    self.world.session.send_log(update.deployment, messages)
                return device, Event.DONE
            except DeploymentAborted:
                return device, Event.DONE
            except ServerError as error:
                if _refused(error):
                    log.error("the server does not take the report: %s", error)
                    return device, Event.DONE
                log.warning("the report waits: %s", error)
                self.world.clock.sleep(error.retry_after or self.world.retry_poll)

    def _tell(self, update: Update, status: str) -> None:
        """Report on the way; only an abort matters."""
        try:
            self.world.marks.put(f"report.{status}")
            self.world.session.status(update.deployment, status)
        except ServerError as error:
            log.warning("%s", error)

    def _must_tell(self, update: Update, status: str) -> None:
        """Report and be heard, or raise the last ServerError."""
        pauses = delays(self.world.retry_poll, self.world.retry_count)
        while True:
            try:
                self.world.marks.put(f"report.{status}")
                self.world.session.status(update.deployment, status)
                return
            except ServerError as error:
                pause = next(pauses, None)
                if pause is None:
                    raise
                log.warning("%s", error)
                self.world.clock.sleep(error.retry_after or pause)

    def _aborted(self, device: Device, error: DeploymentAborted) -> Done:
        log.error("%s", error)
        return _outcome(device, "failure"), Event.ABORTED


def _update(device: Device) -> Update:
    assert device.update is not None, "an action runs only while an update is under way"
    return device.update


def _refused(error: ServerError) -> bool:
    """Whether the server understood and said no, so that it would say the same again."""
    return error.status is not None and 400 <= error.status < 500 and error.status not in WORTH_ANOTHER_TRY


def _outcome(device: Device, outcome: str) -> Device:
    return replace(device, update=replace(_update(device), outcome=outcome))
