# SPDX-License-Identifier: Apache-2.0
"""Walks the tables: stores each step before its work, does the work, and takes the next step from the table."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import replace

from updater.errors import UpdaterError
from updater.machine.steps import CARRY_ON, Event, Outcome, Step, track
from updater.machine.tables import REBOOTING, Dialect, resume
from updater.ports import Marks
from updater.store import Device, Store

# The work of a step: what is stored goes in, what is to be stored next and how it ended come out.
Action = Callable[[Step, Device], tuple[Device, Event]]
log = logging.getLogger(__name__)


class Engine:
    """Runs one update from any step to its end, or to a step of `pauses`.  Knows nothing of what the steps do."""

    def __init__(
        self,
        action: Action,
        store: Store,
        marks: Marks,
        dialect: Dialect,
        pauses: frozenset[Step] = frozenset(),
    ) -> None:
        self._action, self._store, self._marks, self._dialect, self._pauses = action, store, marks, dialect, pauses
        self.history: list[tuple[Step, Event]] = []
        self.outcome = Outcome.GOOD

    def resume(self, device: Device) -> Device:
        """Go on after an unexpected start.  The start is counted, so that a device that restarts for ever ends."""
        assert device.update is not None
        stored = device.update.state
        outcome, controlled = Outcome(device.update.outcome), bool(device.update_control_map)
        step, outcome = resume(self._dialect, stored, outcome, controlled=controlled)
        log.info("an update was in '%s' when the device stopped; going on at '%s'", stored, step)
        cost = 0 if stored in REBOOTING else self._dialect.start_cost
        update = replace(device.update, outcome=str(outcome), stores=device.update.stores + cost)
        device = replace(device, update=update)
        if cost:
            self._try_to_save(device)
        return self.run(device, step)

    def run(self, device: Device, step: Step) -> Device:
        """Go from `step` to IDLE, or to the first step of `pauses`; returns what is to be stored then.

        Raises:
            StoreError: it is to pause, and that cannot be stored.
        """
        while step is not Step.IDLE:
            if step in self._pauses:
                return self._store.save(_at(device, self._dialect.stored[step], stopped=True))
            device, event = self._enter(device, step)
            if event is None:
                device, event = self._action(step, device)
            self.history.append((step, event))
            following = self._dialect.transitions[step, event]
            log.info("%s %s, on to %s", step, event, following)
            device = self._tracked(device, step, event)
            step = following
        device = replace(device, update=None, update_control_map={})
        self._try_to_save(device)  # if it cannot be, the record of an update that has ended is still there
        self._marks.put("idle")
        return device

    def _enter(self, device: Device, step: Step) -> tuple[Device, Event | None]:
        """Count and store the step; an event says that its work must not be done."""
        assert device.update is not None
        name = self._dialect.stored.get(step)
        cost = self._dialect.costs.get(step, 0 if name is None else 1)
        stores = device.update.stores + cost
        if cost and stores > self._dialect.limit and (step, Event.LOOPED) in self._dialect.transitions:
            log.error("the update goes in circles and is given up")
            return device, Event.LOOPED
        device = replace(device, update=replace(device.update, stores=stores))
        if name is None:
            return device, None
        self._marks.put(f"state.{step}")
        device = _at(device, name)
        if self._try_to_save(device, kept=step is Step.AFTER_COMMIT) or step in CARRY_ON:
            return device, None
        return device, Event.FAILED

    def _tracked(self, device: Device, step: Step, event: Event) -> Device:
        assert device.update is not None
        self.outcome = track(Outcome(device.update.outcome), step, event, self._dialect.neutral)
        return replace(device, update=replace(device.update, outcome=str(self.outcome)))

    def _try_to_save(self, device: Device, *, kept: bool = False) -> bool:
        try:
            self._store.save(device, kept=kept)
        except UpdaterError as error:
            log.error("%s", error)
            return False
        return True


def _at(device: Device, state: str, *, stopped: bool = False) -> Device:
    assert device.update is not None
    return replace(device, update=replace(device.update, state=state, stopped=stopped))
