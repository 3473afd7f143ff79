# SPDX-License-Identifier: Apache-2.0
"""The work of each step.

Each action takes what is stored, does its work, and says what is to be stored next and how it ended.  What must be
repeatable after a power cut (see RESUME) is: it can find its work done, half done or not begun.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from updater.errors import InstallRefused, ServerError, StoreError, UpdaterError
from updater.install.installer import Installer, Reboot
from updater.machine.reports import Reports
from updater.machine.steps import WORK, Call, Event, Outcome, Report, Script, Step
from updater.machine.tables import CPP, Dialect
from updater.ports import Clock, Marks, Runner
from updater.scripts import StateScripts
from updater.source import Source, Stream
from updater.store import Device, Store, Update

if TYPE_CHECKING:  # most starts of a device install nothing
    from updater.artifact import Artifact

REBOOT_LIMIT = 600.0  # seconds after which a reboot that did not come counts as failed
INCONSISTENT = "_INCONSISTENT"
PROVIDES_LIMIT = 32 * 1024  # characters; the store holds them twice during an update
UNTOLD_LIMIT = 20  # ends that a server which never listens can leave behind
log = logging.getLogger(__name__)
Done = tuple[Device, Event]
MakeInstaller = Callable[[Device], Installer]


@dataclass(frozen=True)
class World:
    """Everything an action may touch."""

    make_installer: MakeInstaller
    reports: Reports
    scripts: StateScripts
    runner: Runner
    clock: Clock
    marks: Marks
    verify_keys: tuple[Path, ...]
    device_type: str
    store: Store | None = None  # where the progress of a download is kept, if it is to be
    dialect: Dialect = CPP


class Actions:
    """The work of all steps of one update; `source` is where its artifact comes from, if it is yet to be fetched."""

    def __init__(self, world: World, source: Source | None = None) -> None:
        self.world, self.source = world, source
        self._installer: Installer | None = None
        self.unreachable = False  # it was the network that failed, and not the artifact
        self._streams: list[Stream] = []
        self._artifact: Artifact | None = None

    def __call__(self, step: Step, device: Device) -> Done:
        work = WORK[step]
        if isinstance(work, Script):
            return device, self._run_scripts(work)
        if isinstance(work, Report):
            return device, self.world.reports.tell(_update(device).deployment, work.status, must=work.must)
        if isinstance(work, Call):
            return device, self._attempt(lambda: self._installed_by(device).call(work.state))
        done: Done = getattr(self, work.method)(device)
        return done

    # -- download --------------------------------------------------------------------------------------------------

    def read_header(self, device: Device) -> Done:
        """Open the artifact, see that it may be installed here, and keep its scripts."""
        from updater.artifact import ArtifactError, apply_provides

        try:
            artifact = self._open(device)
            update = replace(
                _update(device),
                artifact_name=artifact.name,
                artifact_group=artifact.group or "",
                provides=apply_provides(device.provides, artifact),
            )
            if sum(len(name) + len(value) for name, value in update.provides.items()) > PROVIDES_LIMIT:
                raise InstallRefused("The artifact provides more than this device can remember.")
            if artifact.payload_type is None:
                self.close()
                return replace(device, update=update), Event.NOTHING
            device = replace(device, update=replace(update, payload_type=artifact.payload_type))
            self._installer = self.world.make_installer(device)
            device = replace(device, update=self._installer.planned(_update(device), artifact))
            self.world.scripts.store(artifact.scripts)
        except (UpdaterError, ArtifactError, OSError) as error:
            log.error("the artifact is refused: %s", error)
            self.unreachable = isinstance(error, ServerError)
            self.close()
            # Nothing has been begun with a payload, so nothing is to be cleaned up.
            return replace(device, update=replace(_update(device), payload_type="")), Event.FAILED
        self._artifact = artifact
        return device, Event.DONE

    def _open(self, device: Device) -> Artifact:
        # Loaded here, because every start of the device would pay for it.
        from updater.install.intake import open_artifact, verify_keys

        assert self.source is not None
        self.world.marks.put("download.begin")
        keys = verify_keys(self.world.verify_keys)
        self.world.scripts.remove()
        self._streams.append(self.source.open())
        artifact = open_artifact(self._streams[0], keys, device, self.world.device_type)
        if self.source.name and artifact.name != self.source.name:
            raise InstallRefused(f"The server announced '{self.source.name}' and sent '{artifact.name}'.")
        return artifact

    def download(self, device: Device) -> Done:
        """Stream the payload to where it is installed; the installed system is not touched."""
        from updater.artifact import ArtifactError

        assert self._artifact is not None
        try:
            progress = _Progress(self, device) if self.world.store else None
            self._installed_by(device).download(self._artifact, self.world.dialect.asks_for_sizes, progress)
        except (UpdaterError, ArtifactError, OSError) as error:  # the medium too may fail
            log.error("the download failed: %s", error)
            self.unreachable = isinstance(error, ServerError)
            return device, Event.FAILED
        finally:
            self.close()
        return replace(device, update=replace(_update(device), progress={})), Event.DONE

    def reopen(self, place: int) -> Stream:
        """The artifact anew, from byte `place` on."""
        from updater.artifact import ArtifactError

        assert self.source is not None
        size = getattr(self._streams[0], "size", None)
        if size is None or place >= size:
            raise ArtifactError(f"the artifact of {size} bytes cannot be gone on with at byte {place}")
        self._streams.append(self.source.open(place, size))
        return self._streams[-1]

    def close(self) -> None:
        """Give the connections back."""
        while self._streams:
            self._streams.pop().close()

    def check_download(self, device: Device) -> Done:
        """After an unexpected start in a download: can it go on?"""
        known = self.source is not None and bool(_update(device).payload_type)
        return device, Event.DONE if known and self._installed_by(device).goes_on else Event.NOTHING

    # -- questions -------------------------------------------------------------------------------------------------

    def ask_rollback(self, device: Device) -> Done:
        """Ask now what will be needed later."""
        if _update(device).rollback:
            return device, Event.DONE
        try:
            answer = "yes" if self._installed_by(device).can_roll_back() else "no"
        except UpdaterError as error:
            log.error("%s", error)
            return device, Event.FAILED
        return replace(device, update=replace(_update(device), rollback=answer)), Event.DONE

    def ask_reboot(self, device: Device) -> Done:
        """Ask what the payload needs to take effect, if that is not known yet."""
        if _update(device).reboot:
            return device, Event.DONE
        try:
            answer = str(self._installed_by(device).reboot())
        except UpdaterError as error:
            log.error("%s", error)
            return device, Event.FAILED
        return replace(device, update=replace(_update(device), reboot=answer)), Event.DONE

    def ask_reboot_again(self, device: Device) -> Done:
        """As `ask_reboot`, but a No from before is asked for once more."""
        if _update(device).reboot == Reboot.NO:
            device = replace(device, update=replace(_update(device), reboot=""))
        return self.ask_reboot(device)

    def check_reboot(self, device: Device) -> Done:
        """Go on with a reboot, or without."""
        device, event = self.ask_reboot(device)
        needed = _update(device).reboot != Reboot.NO
        return device, event if event is Event.FAILED or needed else Event.NOTHING

    def check_rollback(self, device: Device) -> Done:
        """Whether the payload can be rolled back."""
        if not _update(device).payload_type:
            return device, Event.NOTHING
        device, event = self.ask_rollback(device)
        able = _update(device).rollback == "yes"
        return device, event if event is Event.FAILED or able else Event.NOTHING

    def check_rollback_reboot(self, device: Device) -> Done:
        """Whether the rollback needs a reboot to take effect."""
        device, event = self.ask_reboot(device)
        if event is Event.FAILED:
            return device, event
        try:
            needed = self._installed_by(device).rollback_needs_reboot(Reboot(_update(device).reboot))
        except UpdaterError as error:
            log.error("%s", error)
            return device, Event.FAILED
        return device, Event.DONE if needed else Event.NOTHING

    def check_install(self, device: Device) -> Done:
        """After an unexpected start: does the new software run already, and was nothing left out on the way?"""
        skipped = [
            name
            for name in self.world.scripts.names()
            if name.startswith(("ArtifactInstall_Leave", "ArtifactReboot_Enter"))
        ]
        if skipped:
            log.error("the device restarted before %s had run", skipped[0])
        return device, Event.DONE if not skipped and self._installed_by(device).on_trial() else Event.FAILED

    def check_trial(self, device: Device) -> Done:
        """After an unexpected start on trial: a matter of policy."""
        again = self._installed_by(device).restarts_allowed and self._installed_by(device).on_trial()
        return device, Event.DONE if again else Event.FAILED

    def check_commit(self, device: Device) -> Done:
        """After a failure or a power cut around the commit: has it been made or not?"""
        installer = self._installed_by(device)
        if installer.kept():
            return device, Event.DONE
        again = installer.restarts_allowed and installer.on_trial() and not _update(device).outcome
        return device, Event.AGAIN if again else Event.FAILED

    # -- reboots ---------------------------------------------------------------------------------------------------

    def reboot(self, device: Device) -> Done:
        """Start the new software; a reboot of the whole system that returns has not happened."""
        if _update(device).reboot == Reboot.CUSTOM:
            return device, self._attempt(lambda: self._installed_by(device).call("ArtifactReboot"))
        return self._restart(device), Event.FAILED

    def rollback_reboot(self, device: Device) -> Done:
        """Start the old software; whether that worked is seen afterwards."""
        if _update(device).reboot == Reboot.CUSTOM:
            self._attempt(lambda: self._installed_by(device).call("ArtifactRollbackReboot"))
            return device, Event.DONE
        return self._restart(device), Event.DONE

    def verify_rollback(self, device: Device) -> Done:
        """Is it the old software that runs?  If not, another reboot may do."""
        event = self._attempt(lambda: self._installed_by(device).call("ArtifactVerifyRollbackReboot"))
        return device, Event.DONE if event is Event.DONE else Event.AGAIN

    def _restart(self, device: Device) -> Device:
        self.world.marks.put("reboot")
        try:
            self.world.runner.run(["reboot"])
            self.world.clock.sleep(REBOOT_LIMIT)
            log.error("the system was told to reboot and did not")
        except UpdaterError as error:
            log.error("%s", error)
        return device

    # -- the end ---------------------------------------------------------------------------------------------------

    def commit(self, device: Device) -> Done:
        """Keep the new software."""
        try:
            self.world.scripts.check_rootfs()
            self._installed_by(device).call("ArtifactCommit")
        except UpdaterError as error:
            log.error("the update is not kept: %s", error)
            return device, Event.UNSURE if self._installed_by(device).kept() else Event.FAILED
        return device, Event.DONE

    def after_commit(self, device: Device) -> Done:
        """The new software is kept, and with it this client's way to store things."""
        return device, Event.DONE

    def save_provides(self, device: Device) -> Done:
        """Remember what is installed now; it is stored together with the step that follows."""
        update = _update(device)
        outcome = Outcome(update.outcome)
        if outcome is Outcome.GOOD:
            # A module that brought another system says nothing of slots, so the next start has to find out.
            slot = update.target or ("" if update.reboot == Reboot.AUTOMATIC else device.slot)
            kept = replace(device, provides=dict(update.provides), slot=slot, failures={})
            return kept, Event.DONE
        if outcome is Outcome.ROLLED_BACK or (update.payload_type and self._installed_by(device).restored()):
            return device, Event.DONE
        # A commit that something failed after is one all the same, and the slot that it chose is to stay.
        slot = update.target if update.target and self._installed_by(device).kept() else device.slot
        return replace(_inconsistent(device), slot=slot), Event.DONE

    def give_up(self, device: Device) -> Done:
        """An update in circles: leave the device as safe as can be, and say that nobody knows what it holds."""
        if _update(device).payload_type:
            installer = self._installed_by(device)
            installer.abandon()
            if installer.restored():
                return device, Event.DONE
        return _inconsistent(device), Event.DONE

    def cleanup(self, device: Device) -> Done:
        """Remove what the update needed on its way."""
        if not _update(device).payload_type:
            return device, Event.DONE
        event = self._attempt(lambda: self._installed_by(device).call("Cleanup"))
        self.world.scripts.remove()
        return device, event

    def report(self, device: Device) -> Done:
        """Tell the server how it ended; if it does not listen, the daemon tells it later."""
        update = _update(device)
        final = "success" if update.outcome == Outcome.GOOD else "failure"
        if self.world.reports.tell_the_end(update.deployment, final):
            return device, Event.DONE
        untold = {**device.untold, update.deployment: final}
        return replace(device, untold=dict(list(untold.items())[-UNTOLD_LIMIT:])), Event.DONE

    def nothing(self, device: Device) -> Done:
        """A step that only says something about the update."""
        return device, Event.DONE

    # -- helpers ---------------------------------------------------------------------------------------------------

    def _installed_by(self, device: Device) -> Installer:
        if self._installer is None:
            self._installer = self.world.make_installer(device)
        return self._installer

    def _attempt(self, work: Callable[[], None]) -> Event:
        try:
            work()
        except UpdaterError as error:
            log.error("%s", error)
            return Event.FAILED
        return Event.DONE

    def _run_scripts(self, work: Script) -> Event:
        event = self._attempt(lambda: self.world.scripts.run(work.state, work.moment))
        ignored = work.moment == "Error" or work.state in self.world.dialect.scripts_ignored
        return Event.DONE if ignored else event


@dataclass
class _Progress:
    """How far a download has come, in the record of its update; each time it gets further it starts counting anew."""

    actions: Actions
    device: Device

    @property
    def saved(self) -> Mapping[str, Any] | None:
        return _update(self.device).progress or None

    def save(self, point: Mapping[str, Any], /) -> None:
        update = replace(_update(self.device), progress=dict(point), stores=0)
        try:
            assert self.actions.world.store is not None
            self.actions.world.store.save(replace(self.device, update=update))
        except StoreError as error:
            log.warning("the progress of the download is not kept: %s", error)

    def reopen(self, place: int, /) -> Stream:
        return self.actions.reopen(place)


def _update(device: Device) -> Update:
    assert device.update is not None, "an action runs only while an update is under way"
    return device.update


def _inconsistent(device: Device) -> Device:
    """The device has neither the old software nor surely the new; the name says so, the rest is as it was."""
    update = _update(device)
    name = (update.artifact_name or device.artifact_name).removesuffix(INCONSISTENT) + INCONSISTENT
    group = {"artifact_group": update.artifact_group} if update.artifact_group else {}
    return replace(device, provides={**device.provides, **group, "artifact_name": name})
