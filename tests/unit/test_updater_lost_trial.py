# SPDX-License-Identifier: Apache-2.0
"""A system that was installed by hand and did not come up: its update is closed, so that the device takes others."""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest

from tests.unit.updater_simulation import FakeEnv, Killed, MemoryStore, PowerCut, Restarted, Simulation, artifact
from updater.byhand import AWAITS_COMMIT
from updater.daemon import Daemon
from updater.machine.actions import Actions
from updater.store import Device, Store, Update

BY_HAND = Update(
    AWAITS_COMMIT,
    artifact_name="by-hand",
    payload_type="rootfs-image",
    provides={"artifact_name": "by-hand"},
    origin="a",
    target="b",
    reboot="automatic",
    rollback="yes",
)
WAITS = Device({"artifact_name": "old", "other": "kept"}, BY_HAND, slot="a")


class Waits(BaseException):
    """The daemon has nothing to do any more until something is due."""


def device(running: str, active: str, trial: bool, stored: Device, faults: Mapping[int, str] = {}) -> Simulation:
    """A device that has just been booted by hand into what its bootloader chose."""
    simulation = Simulation(faults)
    simulation.disk.slots["b"] = "good"
    simulation.running = running
    simulation.disk.active, simulation.disk.trial = active, trial
    text = Simulation()
    MemoryStore(text).save(stored)
    simulation.disk.stored = text.disk.stored
    return simulation


def started(simulation: Simulation) -> Daemon:
    """The daemon, up to the first time that it waits."""

    def wait(_: float) -> Sequence[object]:
        raise Waits

    store: Store = MemoryStore(simulation)
    daemon = simulation.daemon(store)
    daemon._wait = wait  # type: ignore[assignment]
    with pytest.raises(Waits):
        daemon.run()
    return daemon


def test_one_that_the_bootloader_has_given_up_is_rolled_back_for_good(caplog: pytest.LogCaptureFixture) -> None:
    simulation = device("a", "a", False, WAITS)
    started(simulation)
    assert simulation.stored == replace(WAITS, update=None), "and what was installed before is still known"
    assert (simulation.disk.active, simulation.disk.trial) == ("a", False)
    assert not {"before reboot", "before flip"} & set(simulation.points)
    warnings = [one.getMessage() for one in caplog.records if one.levelno == logging.WARNING]
    assert "the update that was begun by hand did not come up, and is rolled back" in warnings


@pytest.mark.parametrize(
    ("running", "active", "trial", "stored"),
    [
        ("b", "b", True, WAITS),
        ("a", "b", True, WAITS),
        ("a", "a", False, replace(WAITS, update=replace(BY_HAND, state="ArtifactInstall_Enter", stopped=True))),
        ("b", "b", True, replace(WAITS, update=replace(BY_HAND, state="Cleanup", stopped=True))),
        ("a", "a", False, replace(WAITS, update=replace(BY_HAND, state="Before_ArtifactInstall_Enter"))),
        ("a", "a", False, replace(WAITS, update=replace(BY_HAND, target="", origin="", payload_type="module"))),
    ],
    ids=[
        "on trial",
        "not booted yet",
        "stopped in the installation",
        "stopped at its end",
        "stopped before it",
        "of a module",
    ],
)
def test_one_that_somebody_may_still_work_for_is_left_to_them(
    running: str, active: str, trial: bool, stored: Device
) -> None:
    simulation = device(running, active, trial, stored)
    before = simulation.disk.stored
    started(simulation)
    assert simulation.disk.stored == before
    assert (simulation.disk.active, simulation.disk.trial) == (active, trial)


@pytest.mark.parametrize(
    ("running", "state", "outcome", "name"),
    [
        ("a", "ArtifactInstall_Enter", "", "old"),
        ("b", "ArtifactCommit_Leave", "", "by-hand"),
        ("b", "Cleanup", "", "old"),
        ("a", "ArtifactRollback_Enter", "failed", "old"),
        ("a", "ArtifactFailure_Enter", "rolled-back", "old"),
    ],
)
def test_one_that_was_interrupted_is_brought_to_its_end(running: str, state: str, outcome: str, name: str) -> None:
    """The power failed after the command had been given, and nobody is asked anything any more."""
    update = replace(BY_HAND, state=state, outcome=outcome)
    simulation = device(running, running, False, replace(WAITS, update=update))
    started(simulation)
    assert simulation.stored.update is None
    assert (simulation.stored.artifact_name, simulation.disk.active, simulation.disk.trial) == (name, running, False)


def test_one_that_was_interrupted_in_its_commit_is_left_for_the_old_system() -> None:
    """The power did not fail, so the new one still runs; nobody has kept it."""
    simulation = device("b", "b", True, replace(WAITS, update=replace(BY_HAND, state="ArtifactCommit_Enter")))
    with pytest.raises(Restarted):
        started(simulation)
    assert (simulation.stored.update, simulation.stored.artifact_name) == (None, "old")
    assert (simulation.disk.active, simulation.disk.trial) == ("a", False)


def test_while_the_daemon_runs_an_interrupted_one_is_noticed_when_it_asks_for_work(
    caplog: pytest.LogCaptureFixture,
) -> None:
    simulation = device("a", "a", False, replace(WAITS, update=None))
    daemon = started(simulation)
    waiting = replace(WAITS, update=replace(BY_HAND, state="Before_ArtifactInstall_Enter", stopped=True))
    daemon.store.save(waiting)
    daemon._synchronise(daemon.update, daemon._check_for_update)
    assert simulation.stored == waiting
    assert "not finished. Please commit" not in caplog.text
    assert "not finished. Please roll back first, or use `resume` to complete it." in caplog.text
    daemon.store.save(replace(WAITS, update=replace(BY_HAND, state="ArtifactFailure_Enter", outcome="rolled-back")))
    deployment = daemon._check_for_update()
    assert deployment is not None, "the server's is asked for"
    assert simulation.stored.update is None


def test_an_environment_that_cannot_be_read_closes_nothing() -> None:
    """Nobody can say then that the system did not come up."""
    simulation = device("a", "a", False, WAITS, dict.fromkeys(range(2), "error"))
    started(simulation)
    assert "read env" in simulation.points
    assert simulation.stored == WAITS


def test_the_server_is_asked_again_once_it_is_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Actions, "_open", lambda *_: artifact())
    simulation = device("a", "a", False, WAITS)
    started(simulation)
    assert simulation.told == []
    simulation.run()
    assert (simulation.final, simulation.running, simulation.stored.artifact_name) == ("success", "b", "new")
    assert simulation.stored.update is None


def test_a_trial_that_is_lost_while_the_daemon_runs_is_closed_at_its_next_end_of_an_update() -> None:
    simulation = device("b", "b", True, WAITS)
    daemon = started(simulation)
    assert simulation.stored == WAITS
    FakeEnv(simulation).restore("a")
    simulation.running = "a"
    daemon._ended()
    assert simulation.stored == replace(WAITS, update=None)


def test_wherever_the_power_fails_it_is_closed_in_the_end() -> None:
    undisturbed = device("a", "a", False, WAITS)
    started(undisturbed)
    for number in range(len(undisturbed.points)):
        for fault in ("cut", "kill"):
            simulation = device("a", "a", False, WAITS, {number: fault})
            with pytest.raises((PowerCut, Killed)):
                started(simulation)
            simulation.boot()
            started(simulation)
            assert simulation.stored == replace(WAITS, update=None), f"{fault} at {simulation.points[number]}"
            assert (simulation.disk.active, simulation.disk.trial) == ("a", False)
