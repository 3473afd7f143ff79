# SPDX-License-Identifier: Apache-2.0
"""Standalone mode: an artifact from a file, an address or standard input, installed by command and without a server.

What is printed and the exit codes are those of Mender's client, so that scripts written for it work.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

from updater.errors import UpdaterError
from updater.machine.actions import Actions
from updater.machine.engine import Engine
from updater.machine.standalone import BEFORE_INSTALL, CAN_COMMIT, CAN_ROLL_BACK, STANDALONE, STOPS, WAITING, way_on
from updater.machine.steps import Event, Outcome, Step
from updater.machine.world import World
from updater.process import end_leftovers
from updater.source import Source
from updater.store import Device, Store, Update

OK, FAILED, NOTHING_TO_DO, REBOOT_NEEDED = 0, 1, 2, 4
REBOOT_TEXT = "At least one payload requested a reboot of the device it updated."
BROKEN = "Rollback failed. System may be in an inconsistent state."
NOT_ABLE = "Update Module does not support rollback. System may be in an inconsistent state."


@dataclass(frozen=True)
class Result:
    """What a command has to say, and how it ends."""

    code: int
    lines: tuple[str, ...]
    wants_reboot: bool = False


class Standalone:
    """The commands.  `stops` are names of STOPS at which the update is to stop.

    Raises (from every command):
        UpdaterError: it cannot be begun; nothing has been changed.
    """

    def __init__(self, store: Store, world: World, stops: Sequence[str] = ()) -> None:
        self._store = store
        self._owner = str(store.file.path.parent)
        self._world = replace(world, dialect=STANDALONE)
        self._stops = frozenset(STOPS[name] for name in stops)

    def install(self, source: Source) -> Result:
        """Install an artifact; one that can be rolled back waits for a commit."""
        with self._alone() as device:
            if device.update is not None:
                raise UpdaterError(f"Update already in progress. {way_on(device.update.state)}")
            device = replace(device, update=Update(""))
            actions = Actions(self._world, source)
            engine = self._engine(actions, Step.AWAIT_COMMIT)
            try:
                device = engine.run(device, STANDALONE.first)
            finally:
                actions.close()
            return _installed(engine, device)

    def resume(self) -> Result:
        """Go on with an update that was stopped or interrupted."""
        with self._alone() as device:
            if _begun(device) is None:
                return Result(NOTHING_TO_DO, ("No update in progress.",))
            engine = self._engine(Actions(self._world), Step.AWAIT_COMMIT)
            return _installed(engine, engine.resume(device))

    def commit(self) -> Result:
        """Keep what was installed."""
        with self._alone() as device:
            update = _begun(device)
            if update is None:
                return Result(NOTHING_TO_DO, ("No update in progress.",))
            if update.state not in CAN_COMMIT:
                raise UpdaterError(
                    "Cannot commit from this state. Make sure that the `install` command has run successfully and the "
                    f"device is expecting a commit. {way_on(update.state)}"
                )
            engine = self._engine(Actions(self._world))
            return _committed(engine, engine.resume(device))

    def rollback(self) -> Result:
        """Go back to what was there before."""
        with self._alone() as device:
            update = _begun(device)
            if update is None:
                return Result(NOTHING_TO_DO, ("No update in progress.",))
            if update.state not in CAN_ROLL_BACK:
                raise UpdaterError("Cannot roll back from this state. Use `resume` to complete the current install.")
            able = self._world.make_installer(device).can_roll_back()
            if not able and update.state != BEFORE_INSTALL:
                return Result(FAILED, (NOT_ABLE, "Use `resume` to complete it."))
            engine = self._engine(Actions(self._world))
            device = replace(device, update=replace(update, outcome=str(Outcome.FAILED), rollback="yes"))
            device = engine.run(device, Step.CHECK_ROLLBACK if able else Step.NOT_NEEDED)
            if device.update is not None:
                return _stopped(device, [])
            good = engine.outcome is Outcome.ROLLED_BACK
            again = _wants_reboot_back(engine)
            lines = (_after_failure(engine), *([REBOOT_TEXT] if again else []))
            return Result(OK if good else FAILED, lines, again)

    def finish(self) -> Result | None:
        """Bring what was interrupted to its end, if no person is waited for; None if there is nothing of the kind."""
        with self._alone() as device:
            update = device.update
            if update is None or update.deployment or update.stopped or update.state in WAITING:
                return None
            engine = self._engine(Actions(self._world), Step.AWAIT_COMMIT)
            engine.resume(device)
            said = f"It was interrupted at '{update.state}' and is at its end now."
            return Result(OK, (said,), _wants_reboot_back(engine))

    @contextmanager
    def _alone(self) -> Iterator[Device]:
        """Be the one that installs, and know what is stored; what a killed updater has left behind is ended."""
        with self._store.writing():
            device = self._store.load()
            if device.update is None or not device.update.stopped:
                end_leftovers(self._owner)
            yield device

    def _engine(self, actions: Actions, *pauses: Step) -> Engine:
        return Engine(actions, self._store, self._world.marks, STANDALONE, self._stops | frozenset(pauses))


def _begun(device: Device) -> Update | None:
    """The standalone update under way.

    Raises:
        UpdaterError: the daemon is at work on one.
    """
    if device.update is not None and device.update.deployment:
        raise UpdaterError("The update under way belongs to the server; the daemon finishes it.")
    return device.update


def _installed(engine: Engine, device: Device) -> Result:
    ended = dict(engine.history)
    lines = ["Installing artifact..."] if STANDALONE.first in ended else []
    if device.update is not None and ended.get(Step.DECIDE) is not Event.DONE:
        return _stopped(device, lines, engine.outcome)
    wants_reboot = ended.get(Step.CHECK_REBOOT) is Event.DONE
    if device.update is not None:
        lines += ["Installed, but not committed.", "Use 'commit' to update, or 'rollback' to roll back the update."]
    elif engine.outcome is Outcome.GOOD:
        if ended.get(Step.HEADER) is Event.NOTHING:
            lines.append("Artifact with empty payload. Committing immediately.")
        if ended.get(Step.DECIDE) is Event.NOTHING:
            lines.append("Update Module doesn't support rollback. Committing immediately.")
        lines.append("Installed and committed.")
    elif Step.NOT_NEEDED in ended:
        return Result(FAILED, (*lines, "Streaming failed.", "System not modified."))
    else:
        return Result(FAILED, (*lines, "Installation failed.", _after_failure(engine)))
    return Result(OK, (*lines, *([REBOOT_TEXT] if wants_reboot else [])), wants_reboot)


def _committed(engine: Engine, device: Device) -> Result:
    if device.update is not None:
        return _stopped(device, [], engine.outcome)
    if engine.outcome is Outcome.GOOD:
        return Result(OK, ("Committed.",))
    return Result(FAILED, ("Commit failed.", _after_failure(engine)))


def _stopped(device: Device, lines: list[str], outcome: Outcome = Outcome.GOOD) -> Result:
    assert device.update is not None
    failed = outcome is not Outcome.GOOD
    where = f"Stopped; the update is at {device.update.state}. Use 'resume' to go on."
    return Result(FAILED if failed else OK, (*lines, *(["The update failed."] if failed else []), where))


def _wants_reboot_back(engine: Engine) -> bool:
    """Whether what was rolled back takes a reboot to be gone."""
    return (Step.CHECK_ROLLBACK_REBOOT, Event.DONE) in engine.history


def _after_failure(engine: Engine) -> str:
    if Step.COMMIT_LEAVE_ERROR in dict(engine.history):
        return "It was committed, and a script failed afterwards. System may be in an inconsistent state."
    return {Outcome.FAILED: NOT_ABLE, Outcome.ROLLED_BACK: "Rolled back."}.get(engine.outcome, BROKEN)
