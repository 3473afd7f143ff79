# SPDX-License-Identifier: Apache-2.0
"""The tables of the update and the engine that walks them."""

import ast
import inspect
import itertools
import textwrap
from pathlib import Path
from typing import cast

import pytest

from updater.machine.actions import Actions, World
from updater.machine.backoff import delays
from updater.machine.engine import Action, Engine
from updater.machine.tables import ENDING, RESUME, STORE_LIMIT, TRANSITIONS, Event, State, resume
from updater.store import Device, Store, Update

WORK = [state for state in State if state is not State.IDLE]
S, E = State, Event


def events_of(method: str) -> set[Event]:
    """All events that the source of an action names, those of the methods it calls included."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(getattr(Actions, method))))
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name):
            if node.value.id == "Event":
                found.add(Event[node.attr])
            elif node.value.id == "self" and hasattr(Actions, node.attr):
                found |= events_of(node.attr)
    return found


def test_every_event_of_every_action_leads_somewhere_and_no_row_is_idle() -> None:
    table = Actions(cast(World, None)).table()
    assert set(table) == set(WORK)
    possible = {(state, event) for state, action in table.items() for event in events_of(action.__name__)}
    assert possible == set(TRANSITIONS)


def test_every_state_is_reached_from_the_first_one_or_by_an_unexpected_start() -> None:
    reached = {S.DOWNLOAD}
    for _ in State:
        reached |= {after for (state, _), after in TRANSITIONS.items() if state in reached}
        reached |= {RESUME[state] for state in reached & set(RESUME)}
    assert reached == set(State)


def test_from_every_state_the_end_is_near() -> None:
    ends = {S.IDLE}
    for _ in State:
        ends |= {state for (state, _), after in TRANSITIONS.items() if after in ends}
    assert ends == set(State)
    for state in ENDING - {S.VERIFY_COMMIT}:
        assert {after for (one, _), after in TRANSITIONS.items() if one is state} <= ENDING | {S.IDLE}


def test_every_state_resumes_and_what_nobody_knows_is_rolled_back() -> None:
    assert set(RESUME) == set(WORK)
    for state, after in RESUME.items():
        assert resume(str(state)) is after
        assert RESUME[after] in (after, S.ROLLBACK, S.VERIFY_COMMIT), "going on twice is defined too"
    for name in ("idle", "", "update-fetch", "nonsense"):
        assert resume(name) is S.ROLLBACK


def test_the_stored_names_are_those_that_mender_uses() -> None:
    ours = {"verify-install", "verify-commit"}
    theirs = {
        "update-store", "update-install", "reboot", "after-reboot", "update-commit", "update-after-commit", "rollback",
        "rollback-reboot", "after-rollback-reboot", "update-error", "cleanup", "update-status-report",
    }  # fmt: skip
    assert {str(state) for state in WORK} == ours | theirs


class Recorder(Store):
    """Writes into a list what is stored, marked and done, in order."""

    def __init__(self, events: dict[State, list[Event]]) -> None:
        super().__init__(Path("nowhere"))
        self.did: list[str] = []
        self.events = events

    def save(self, device: Device) -> Device:
        self.did.append(f"store {device.update.state if device.update else 'nothing'}")
        if device.update:
            device = Device(device.provides, Update(**{**device.update.__dict__, "stores": device.update.stores + 1}))
        return device

    def put(self, name: str) -> None:
        self.did.append(f"mark {name}")

    def table(self) -> dict[State, Action]:
        def action_of(state: State) -> Action:
            def action(device: Device) -> tuple[Device, Event]:
                assert device.update
                assert device.update.state == state
                self.did.append(f"do {state}")
                planned = self.events.get(state, [])
                return device, planned.pop(0) if len(planned) > 1 else (planned or [E.DONE])[0]

            return action

        return {state: action_of(state) for state in WORK}

    def run(self, state: State = S.DOWNLOAD, stores: int = 0) -> list[str]:
        began = Device({"artifact_name": "old"}, Update(str(state), "d", stores=stores))
        device = Engine(self.table(), self, self).run(began, state)
        assert device.update is None
        return [did.removeprefix("do ") for did in self.did if did.startswith("do ")]


def test_each_state_is_marked_and_stored_before_its_work() -> None:
    recorder = Recorder({S.REBOOT: [E.FAILED], S.ROLLBACK: [E.REBOOT_NEEDED], S.ROLLBACK_REBOOT: [E.FAILED]})
    went = recorder.run()
    wanted = itertools.chain.from_iterable((f"mark state.{one}", f"store {one}", f"do {one}") for one in went)
    assert recorder.did == [*wanted, "store nothing", "mark idle"]
    assert went == [S.DOWNLOAD, S.INSTALL, S.REBOOT, S.ROLLBACK, S.ROLLBACK_REBOOT, S.VERIFY_ROLLBACK, S.FAILURE,
                    S.CLEANUP, S.REPORT]  # fmt: skip


def test_an_update_in_circles_is_given_up_as_failed() -> None:
    went = Recorder({S.ROLLBACK_REBOOT: [E.FAILED], S.VERIFY_ROLLBACK: [E.FAILED]}).run(S.ROLLBACK_REBOOT)
    assert went[-3:] == [S.FAILURE, S.CLEANUP, S.REPORT]
    assert len(went) == STORE_LIMIT + 4


@pytest.mark.parametrize("state", sorted(ENDING))
def test_what_is_kept_or_known_goes_its_way_beyond_the_limit(state: State) -> None:
    went = Recorder({}).run(state, stores=STORE_LIMIT + 10)
    assert went[0] == state
    assert (S.FAILURE in went) == (state is S.FAILURE)


@pytest.mark.parametrize("state", sorted(set(WORK) - ENDING))
def test_what_is_open_has_failed_beyond_the_limit(state: State) -> None:
    assert Recorder({}).run(state, stores=STORE_LIMIT + 1) == [S.FAILURE, S.CLEANUP, S.REPORT]


def test_the_pauses_are_those_of_mender() -> None:
    assert list(delays(300)) == [60, 60, 60, 120, 120, 120, 240, 240, 240, 300, 300, 300]
    assert list(delays(60)) == [60, 60, 60]
    assert list(delays(5)) == [5, 5, 5]
    assert list(delays(100)) == [60, 60, 60, 100, 100, 100]
    assert list(delays(300, count=1)) == []
    assert list(delays(300, count=5)) == [60, 60, 60, 120]
    assert list(delays(60, count=8)) == [60] * 7
