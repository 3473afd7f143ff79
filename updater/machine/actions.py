# SPDX-License-Identifier: Apache-2.0
"""The work of each step.

Each action takes what is stored, does its work, and says what is to be stored next and how it ended.  What must be
repeatable after a power cut (see RESUME) is: it can find its work done, half done or not begun.
"""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from updater.errors import UpdaterError
from updater.install.installer import Reboot
from updater.machine.fetch import Fetch
from updater.machine.steps import WORK, Call, Event, Outcome, Report, Script, Step
from updater.machine.world import Done, update_of
from updater.store import Device

REBOOT_LIMIT = 600.0  # seconds after which a reboot that did not come counts as failed
INCONSISTENT = "_INCONSISTENT"
UNTOLD_LIMIT = 20  # ends that a server which never listens can leave behind
log = logging.getLogger(__name__)


class Actions(Fetch):
    """The work of all steps of one update."""

    def __call__(self, step: Step, device: Device) -> Done:
        work = WORK[step]
        if isinstance(work, Script):
            return device, self._run_scripts(work)
        if isinstance(work, Report):
            return device, self.world.reports.tell(update_of(device).deployment, work.status, must=work.must)
        if isinstance(work, Call):
            return device, self._attempt(lambda: self._installed_by(device).call(work.state))
        done: Done = getattr(self, work.method)(device)
        return done

    # -- questions: may it go on, what does the payload need? -----------------------------------------------------

    def check_download(self, device: Device) -> Done:
        """After an unexpected start in a download: can it go on?"""
        known = self.source is not None and bool(update_of(device).payload_type)
        return device, Event.DONE if known and self._installed_by(device).goes_on else Event.NOTHING

    def ask_rollback(self, device: Device) -> Done:
        """Ask now what will be needed later."""
        if update_of(device).rollback:
            return device, Event.DONE
        try:
            answer = "yes" if self._installed_by(device).can_roll_back() else "no"
        except UpdaterError as error:
            log.error("%s", error)
            return device, Event.FAILED
        return replace(device, update=replace(update_of(device), rollback=answer)), Event.DONE

    def ask_reboot(self, device: Device) -> Done:
        """Ask what the payload needs to take effect, if that is not known yet."""
        if update_of(device).reboot:
            return device, Event.DONE
        try:
            answer = str(self._installed_by(device).reboot())
        except UpdaterError as error:
            log.error("%s", error)
            return device, Event.FAILED
        return replace(device, update=replace(update_of(device), reboot=answer)), Event.DONE

    def ask_reboot_again(self, device: Device) -> Done:
        """As `ask_reboot`, but a No from before is asked for once more."""
        if update_of(device).reboot == Reboot.NO:
            device = replace(device, update=replace(update_of(device), reboot=""))
        return self.ask_reboot(device)

    def check_reboot(self, device: Device) -> Done:
        """Go on with a reboot, or without."""
        device, event = self.ask_reboot(device)
        needed = update_of(device).reboot != Reboot.NO
        return device, event if event is Event.FAILED or needed else Event.NOTHING

    def check_rollback(self, device: Device) -> Done:
        """Whether the payload can be rolled back."""
        if not update_of(device).payload_type:
            return device, Event.NOTHING
        device, event = self.ask_rollback(device)
        able = update_of(device).rollback == "yes"
        return device, event if event is Event.FAILED or able else Event.NOTHING

    def check_rollback_reboot(self, device: Device) -> Done:
        """Whether the rollback needs a reboot to take effect."""
        device, event = self.ask_reboot(device)
        if event is Event.FAILED:
            return device, event
        try:
            needed = self._installed_by(device).rollback_needs_reboot(Reboot(update_of(device).reboot))
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
        again = installer.restarts_allowed and installer.on_trial() and not update_of(device).outcome
        return device, Event.AGAIN if again else Event.FAILED

    # -- reboots ---------------------------------------------------------------------------------------------------

    def reboot(self, device: Device) -> Done:
        """Start the new software; a reboot of the whole system that returns has not happened."""
        if update_of(device).reboot == Reboot.CUSTOM:
            return device, self._attempt(lambda: self._installed_by(device).call("ArtifactReboot"))
        return self._restart(device), Event.FAILED

    def rollback(self, device: Device) -> Done:
        """Take the installation back; for a slot that is looked at again after a reboot, that is another chance."""
        event = self._attempt(lambda: self._installed_by(device).call("ArtifactRollback"))
        again = self.world.dialect.reboots and bool(update_of(device).target)
        return device, Event.DONE if again else event

    def rollback_reboot(self, device: Device) -> Done:
        """Start the old software; whether that worked is seen afterwards."""
        if update_of(device).reboot == Reboot.CUSTOM:
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
        update = update_of(device)
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
        if update_of(device).payload_type:
            installer = self._installed_by(device)
            installer.abandon()
            if installer.restored():
                return device, Event.DONE
        return _inconsistent(device), Event.DONE

    def cleanup(self, device: Device) -> Done:
        """Remove what the update needed on its way."""
        event = Event.DONE
        if update_of(device).payload_type:
            event = self._attempt(lambda: self._installed_by(device).call("Cleanup"))
        self.world.scripts.remove()  # they are there before it is stored what the payload is
        return device, event

    def report(self, device: Device) -> Done:
        """Tell the server how it ended; if it does not listen, the daemon tells it later."""
        update = update_of(device)
        final = "success" if update.outcome == Outcome.GOOD else "failure"
        if self.world.reports.tell_the_end(update.deployment, final):
            return device, Event.DONE
        untold = {**device.untold, update.deployment: final}
        return replace(device, untold=dict(list(untold.items())[-UNTOLD_LIMIT:])), Event.DONE

    def nothing(self, device: Device) -> Done:
        """A step that only says something about the update."""
        return device, Event.DONE

    # -- helpers ---------------------------------------------------------------------------------------------------

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


def _inconsistent(device: Device) -> Device:
    """The device has neither the old software nor surely the new; the name says so, the rest is as it was."""
    update = update_of(device)
    name = (update.artifact_name or device.artifact_name).removesuffix(INCONSISTENT) + INCONSISTENT
    group = {"artifact_group": update.artifact_group} if update.artifact_group else {}
    return replace(device, provides={**device.provides, **group, "artifact_name": name})
