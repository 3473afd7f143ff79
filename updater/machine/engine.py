# SPDX-License-Identifier: Apache-2.0
"""Walks the tables: stores each state before its work, does the work, and takes the next state from the table."""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from dataclasses import replace

from updater.machine.tables import ENDING, STORE_LIMIT, TRANSITIONS, Event, State
from updater.ports import Marks
from updater.store import Device, Store

# The work of a state: what is stored goes in, what is to be stored next and how it ended come out.
Action = Callable[[Device], tuple[Device, Event]]
log = logging.getLogger(__name__)


class Engine:
    """Runs one update from any state to its end.  Knows nothing of what the states do."""

    def __init__(self, actions: Mapping[State, Action], store: Store, marks: Marks) -> None:
        self._actions, self._store, self._marks = actions, store, marks

    def run(self, device: Device, state: State) -> Device:
        """Go from `state` to IDLE; returns what is stored then."""
        while state is not State.IDLE:
            state = self._bounded(device, state)
            device = self._enter(device, state)
            device, event = self._actions[state](device)
            following = TRANSITIONS[state, event]
            log.info("%s %s, on to %s", state, event, following)
            state = following
        device = self._store.save(replace(device, update=None))
        self._marks.put("idle")
        return device

    def _enter(self, device: Device, state: State) -> Device:
        assert device.update is not None
        self._marks.put(f"state.{state}")
        return self._store.save(replace(device, update=replace(device.update, state=str(state))))

    def _bounded(self, device: Device, state: State) -> State:
        """A board that reboots for ever must come to an end: past the limit an update that is not kept has failed."""
        if device.update is not None and device.update.stores > STORE_LIMIT and state not in ENDING:
            log.error("the update went in circles and is given up")
            return State.FAILURE
        return state
