# SPDX-License-Identifier: Apache-2.0
"""The tables of the update and the engine that walks them."""

from pathlib import Path

import pytest

from updater.errors import StoreError
from updater.machine.actions import Actions
from updater.machine.engine import Engine
from updater.machine.standalone import CAN_COMMIT, CAN_ROLL_BACK, STANDALONE, STOPS
from updater.machine.steps import CARRY_ON, STORED, WORK, Call, Do, Event, Outcome, Report, Script, Step, Work, track
from updater.machine.tables import CPP, GO34, RESUME, Dialect, resume
from updater.store import Device, Store, Update

S, E = Step, Event
ALL = (CPP, GO34, STANDALONE)
MODULE_STATES = {
    "ArtifactInstall", "ArtifactReboot", "ArtifactVerifyReboot", "ArtifactCommit", "ArtifactRollback",
    "ArtifactRollbackReboot", "ArtifactVerifyRollbackReboot", "ArtifactFailure", "Cleanup",
}  # fmt: skip


def reached(dialect: Dialect) -> set[Step]:
    found = {dialect.first} | {one.step for one in dialect.resume.values()} | {S.CHECK_ROLLBACK}
    for _ in Step:
        found |= {after for (step, _), after in dialect.transitions.items() if step in found}
    return found


def events(dialect: Dialect, step: Step) -> set[Event]:
    return {event for one, event in dialect.transitions if one is step}


def test_every_step_has_work_that_exists() -> None:
    assert set(WORK) == set(Step) - {S.IDLE}
    for step, work in WORK.items():
        if isinstance(work, Do):
            assert callable(getattr(Actions, work.method)), step
        if isinstance(work, Call):
            assert work.state in MODULE_STATES


def may_fail(work: Work, dialect: Dialect) -> bool:
    if isinstance(work, Script):
        return work.moment != "Error" and work.state not in dialect.scripts_ignored
    if isinstance(work, Report):
        return work.must and dialect is not STANDALONE
    return isinstance(work, Call)


@pytest.mark.parametrize("dialect", ALL, ids=lambda one: one.name)
def test_every_step_that_is_reached_leads_on_however_it_ends(dialect: Dialect) -> None:
    for step in reached(dialect) - {S.IDLE}:
        work, ends = WORK[step], events(dialect, step)
        assert E.DONE in ends, step
        if may_fail(work, dialect):
            assert E.FAILED in ends, step
        if isinstance(work, Report) and dialect is not STANDALONE:
            assert E.ABORTED in ends, step
        if step in dialect.stored and step not in CARRY_ON and not isinstance(work, Do | Report):
            assert E.FAILED in ends, f"{step} may not be stored"


@pytest.mark.parametrize("dialect", ALL, ids=lambda one: one.name)
def test_from_every_step_the_end_can_be_reached(dialect: Dialect) -> None:
    ends = {S.IDLE}
    for _ in Step:
        ends |= {step for (step, _), after in dialect.transitions.items() if after in ends}
    assert reached(dialect) <= ends


@pytest.mark.parametrize("dialect", ALL, ids=lambda one: one.name)
def test_whatever_is_stored_can_be_resumed(dialect: Dialect) -> None:
    for step in reached(dialect):
        if step in dialect.stored:
            assert dialect.stored[step] in dialect.resume


def test_what_nobody_knows_is_rolled_back_and_the_rest_goes_on_as_it_was() -> None:
    for name in ("idle", "", "nonsense", "mender-update-control"):
        assert resume(CPP, name, Outcome.GOOD) == (S.CHECK_ROLLBACK, Outcome.FAILED)
    assert resume(CPP, "update-store", Outcome.GOOD) == (S.CHECK_DOWNLOAD, Outcome.GOOD)
    for name in ("cleanup", "update-error", "update-status-report", "update-after-commit"):
        for outcome in Outcome:
            assert resume(CPP, name, outcome)[1] is outcome, "the outcome is never forgotten"
    assert resume(CPP, "reboot", Outcome.GOOD, controlled=True) == (S.REBOOT_ERROR, Outcome.FAILED)


def test_the_stored_names_are_those_that_mender_uses() -> None:
    theirs = {
        "update-store", "update-install", "reboot", "after-reboot", "update-commit", "update-after-commit", "rollback",
        "rollback-reboot", "after-rollback-reboot", "update-error", "cleanup", "update-status-report",
    }  # fmt: skip
    assert set(STORED.values()) == theirs
    assert theirs <= set(RESUME)
    assert CAN_COMMIT | CAN_ROLL_BACK <= set(STANDALONE.stored.values()) == set(STANDALONE.resume)
    assert set(STOPS.values()) <= set(STANDALONE.stored)


@pytest.mark.parametrize(
    ("path", "wanted"),
    [
        ([(S.COMMIT, E.DONE), (S.CLEANUP, E.FAILED)], Outcome.GOOD),
        ([(S.REPORT, E.FAILED)], Outcome.GOOD),
        ([(S.DOWNLOAD, E.FAILED), (S.NOT_NEEDED, E.DONE)], Outcome.ROLLED_BACK),
        ([(S.INSTALL_REPORT, E.ABORTED), (S.NOT_NEEDED, E.DONE)], Outcome.ROLLED_BACK),
        ([(S.INSTALL, E.FAILED), (S.CHECK_ROLLBACK, E.NOTHING)], Outcome.FAILED),
        ([(S.INSTALL, E.FAILED), (S.CHECK_ROLLBACK, E.DONE)], Outcome.ROLLED_BACK),
        ([(S.INSTALL, E.FAILED), (S.CHECK_ROLLBACK, E.DONE), (S.FAILURE, E.FAILED)], Outcome.BROKEN),
        ([(S.INSTALL, E.FAILED), (S.CHECK_ROLLBACK, E.DONE), (S.VERIFY_ROLLBACK, E.AGAIN)], Outcome.ROLLED_BACK),
        ([(S.COMMIT, E.UNSURE), (S.CHECK_COMMIT, E.DONE)], Outcome.GOOD),
        ([(S.LOOP, E.DONE)], Outcome.BROKEN),
    ],
)
def test_what_becomes_of_an_update(path: list[tuple[Step, Event]], wanted: Outcome) -> None:
    outcome = Outcome.GOOD
    for step, event in path:
        outcome = track(outcome, step, event)
    assert outcome is wanted


class Recorder(Store):
    """Writes into a list what is stored, marked and done, in order; `full` names what cannot be stored."""

    def __init__(self, ends: dict[Step, list[Event]], full: frozenset[str] = frozenset()) -> None:
        super().__init__(Path("nowhere"))
        self.did: list[str] = []
        self.ends, self.full = ends, full

    def save(self, device: Device, *, kept: bool = False) -> Device:
        name = device.update.state if device.update else "nothing"
        self.did.append(f"store {name}{' for good' if kept else ''}")
        if name in self.full:
            raise StoreError("It is full.")
        return device

    def put(self, name: str) -> None:
        self.did.append(f"mark {name}")

    def action(self, step: Step, device: Device) -> tuple[Device, Event]:
        self.did.append(f"do {step}")
        planned = self.ends.get(step, [])
        return device, planned.pop(0) if len(planned) > 1 else (planned or [E.DONE])[0]

    def run(self, step: Step | None = None, stores: int = 0, dialect: Dialect = CPP, *pauses: Step) -> list[str]:
        began = Device({"artifact_name": "old"}, Update("", "d", stores=stores))
        Engine(self.action, self, self, dialect, frozenset(pauses)).run(began, step or dialect.first)
        return [did.removeprefix("do ") for did in self.did if did.startswith("do ")]


def test_a_step_is_stored_before_its_work() -> None:
    recorder = Recorder({S.CHECK_REBOOT: [E.NOTHING]})
    went = recorder.run()
    assert went[:6] == ["download-report", "download-enter", "header", "download", "download-leave", "install-report"]
    assert went[-5:] == ["after-commit", "commit-leave", "save-provides", "cleanup", "report"]
    for step, name in STORED.items():
        if f"do {step}" in recorder.did:
            place = recorder.did.index(f"do {step}")
            assert recorder.did[place - 1].removesuffix(" for good") == f"store {name}"
            assert recorder.did[place - 2] == f"mark state.{step}"
    assert recorder.did[-2:] == ["store nothing", "mark idle"]
    assert recorder.did.count("store update-after-commit for good") == 1


def test_what_cannot_be_stored_is_not_begun_unless_it_leads_back() -> None:
    went = Recorder({}, frozenset({"update-install", "rollback", "update-error", "cleanup", "nothing"})).run()
    assert "install-enter" not in went
    assert went[6:10] == ["install-error", "check-rollback", "rollback-enter", "rollback"]
    assert went[-1] == "report"


@pytest.mark.parametrize("dialect", [CPP, GO34], ids=lambda one: one.name)
def test_an_update_in_circles_is_given_up(dialect: Dialect) -> None:
    went = Recorder({S.VERIFY_ROLLBACK: [E.AGAIN]}).run(S.ROLLBACK_REBOOT_ENTER, 0, dialect)
    assert went[-2:] == ["loop", "report"]
    assert dialect.limit / 2 - 2 < went.count("verify-rollback") <= dialect.limit


def test_what_is_kept_goes_its_way_beyond_the_limit() -> None:
    assert Recorder({}).run(S.AFTER_COMMIT, CPP.limit) == ["save-provides", "report"]
    assert Recorder({}).run(S.REPORT, CPP.limit + 10) == ["report"]


def test_unexpected_starts_count_and_expected_ones_do_not() -> None:
    for state, cost in (("update-error", 1), ("after-reboot", 1), ("reboot", 0), ("rollback-reboot", 0)):
        recorder = Recorder({})
        seen: list[int] = []

        def action(_: Step, device: Device, seen: list[int] = seen) -> tuple[Device, Event]:
            assert device.update
            seen.append(device.update.stores)
            return device, E.DONE

        engine = Engine(action, recorder, recorder, CPP)
        engine.resume(Device({}, Update(state, "d", stores=5)))
        own = 0 if state == "after-reboot" else 1  # what is gone on with is stored, or only asks
        assert seen[0] == 5 + cost + own, state


def test_it_stops_where_it_is_told_to() -> None:
    recorder = Recorder({})
    went = recorder.run(None, 0, STANDALONE, S.AWAIT_COMMIT)
    assert went[-2:] == ["check-reboot", "decide"]
    assert recorder.did[-1] == "store Before_ArtifactCommit_Enter"
