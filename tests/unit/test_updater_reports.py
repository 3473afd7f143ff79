# SPDX-License-Identifier: Apache-2.0
"""The last word to the server, and what must not stand in the way of an update."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.unit.updater_simulation import FakeClock, MemoryStore, NoLog, Simulation
from updater.config import Config
from updater.daemon import Daemon
from updater.deploymentlog import DeploymentLog
from updater.errors import DeploymentAborted, ServerError, UpdaterError
from updater.machine.actions import Actions, World
from updater.machine.tables import Event
from updater.server.session import Deployment, Session
from updater.slots import Slots
from updater.store import Device, Update

MESSAGES = [{"timestamp": "2024-01-01T00:00:00Z", "level": "error", "message": "x"}]


class Clock(FakeClock):
    def __init__(self) -> None:
        self.slept: list[float] = []

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Server:
    """Gives the errors of its list, then takes everything."""

    def __init__(self, *errors: UpdaterError) -> None:
        self.errors = list(errors)
        self.heard: list[str] = []

    def _next(self, what: str) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.heard.append(what)

    def status(self, deployment: str, status: str) -> None:
        self._next(f"{deployment} {status}")

    def send_log(self, deployment: str, messages: list[dict[str, str]]) -> None:
        assert messages, "servers refuse an empty log"
        self._next(f"{deployment} log")

    def send_inventory(self, attributes: Mapping[str, Any]) -> None:
        self._next(f"inventory {len(attributes)}")

    def next_deployment(self, provides: Mapping[str, str], device_type: str) -> Deployment | None:
        self._next(f"ask for {device_type} with {provides['artifact_name']}")
        return None


def world_with(server: Server, log: list[dict[str, str]]) -> World:
    world = Simulation().world()
    return replace(world, session=cast(Session, server), clock=Clock(), deployment_log=lambda _: log)


def report(server: Server, outcome: str = "failure", log: list[dict[str, str]] = MESSAGES) -> list[float]:
    world = world_with(server, log)
    device = Device({"artifact_name": "old"}, Update("update-status-report", "d", outcome=outcome))
    assert Actions(world).report(device) == (device, Event.DONE)
    return cast(Clock, world.clock).slept


def test_a_failure_brings_its_log_and_a_success_does_not() -> None:
    server = Server()
    assert report(server) == []
    assert server.heard == ["d failure", "d log"]
    server = Server()
    report(server, "success")
    assert server.heard == ["d success"]
    server = Server()
    report(server, "")
    assert server.heard == ["d failure", "d log"], "what is not known to be good has failed"


def test_a_log_that_was_lost_does_not_hold_up_the_report() -> None:
    server = Server()
    assert report(server, log=[]) == []
    assert server.heard == ["d failure"]


@pytest.mark.parametrize("status", [400, 404, 409, 413, 422])
def test_a_server_that_says_no_is_not_asked_for_ever(status: int) -> None:
    assert report(Server(ServerError("No.", status))) == []


def test_an_aborted_deployment_needs_no_last_word() -> None:
    server = Server(DeploymentAborted("It is."))
    assert report(server) == []
    assert server.heard == []


@pytest.mark.parametrize("status", [None, 401, 408, 429, 500, 503])
def test_an_outcome_is_told_as_soon_as_the_server_listens(status: int | None) -> None:
    server = Server(*[ServerError("Not now.", status)] * 20, ServerError("Not now.", status, retry_after=7.0))
    assert report(server, "success") == [300.0] * 20 + [7.0]
    assert server.heard == ["d success"]


# -- asking ------------------------------------------------------------------------------------------------------------


def poll(server: Server) -> list[str]:
    simulation = Simulation()
    log_of = cast(DeploymentLog, NoLog())
    Daemon(Config(), world_with(server, []), MemoryStore(simulation), log_of).poll_once()
    return [heard.split()[0] for heard in server.heard]


def test_an_inventory_that_is_refused_does_not_stand_in_the_way() -> None:
    assert poll(Server()) == ["inventory", "ask"]
    assert poll(Server(ServerError("No.", 400))) == ["ask"]
    assert poll(Server(ServerError("No.", 500))) == ["ask"]


@pytest.mark.parametrize("status", [None, 401])
def test_without_a_server_or_its_trust_nothing_more_is_tried(status: int | None) -> None:
    server = Server(ServerError("No.", status))
    assert poll(server) == []
    assert server.errors == []


# -- the download ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), UpdaterError("oh"), ServerError("oh", 500)])
def test_whatever_breaks_the_download_fails_it(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def fetch(*_: object) -> dict[str, str]:
        raise error

    monkeypatch.setattr(Actions, "_fetch", fetch)
    device = Device({"artifact_name": "old"}, Update("update-store", "d"))
    after, event = Actions(Simulation().world()).download(device)
    assert event is Event.FAILED
    assert after.update == Update("update-store", "d", outcome="failure")


@pytest.mark.parametrize(("active", "trial"), [("a", True), ("b", False)])
def test_nothing_is_installed_over_a_trial_or_the_slot_that_would_boot(
    active: str, trial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Actions, "_fetch", lambda *_: pytest.fail("it was begun"))
    simulation = Simulation()
    simulation.disk.active, simulation.disk.trial = active, trial
    device = Device({"artifact_name": "old"}, Update("update-store", "d"))
    assert Actions(simulation.world()).download(device)[1] is Event.FAILED


def test_a_device_without_its_slots_says_so() -> None:
    with pytest.raises(UpdaterError, match="in neither slot"):
        Slots({"a": Path("/dev/null")}).running()
