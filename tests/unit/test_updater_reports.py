# SPDX-License-Identifier: Apache-2.0
"""What the server is told, for how long it is tried, and what must not stand in the way of an update."""

from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from tests.unit.updater_simulation import FakeClock, MemoryStore, NoLog, Simulation, artifact
from updater.config import Config
from updater.daemon import Daemon
from updater.deploymentlog import DeploymentLog
from updater.errors import DeploymentAborted, InstallRefused, ServerError, UpdaterError
from updater.machine.actions import Actions
from updater.machine.backoff import delays
from updater.machine.reports import ServerReports
from updater.machine.steps import Event, Step
from updater.ports import NoMarks
from updater.server.session import Deployment, Session
from updater.slots import Slots
from updater.store import Device, Update
from updater.timer import Timer

MESSAGES = [{"timestamp": "2024-01-01T00:00:00Z", "level": "error", "message": "x"}]
PAUSES = list(delays(300))


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

    def forget_token(self) -> None:
        self.heard.append("new token")

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


def reports_to(server: Server, log: list[dict[str, str]] = MESSAGES) -> tuple[ServerReports, list[float]]:
    clock = Clock()
    return ServerReports(cast(Session, server), clock, NoMarks(), 300, 0, lambda _: log), clock.slept


# -- the end -----------------------------------------------------------------------------------------------------------


def test_a_failure_brings_its_log_and_a_success_does_not() -> None:
    for final, wanted in (("failure", ["d failure", "d log"]), ("success", ["d success"])):
        server = Server()
        reports, slept = reports_to(server)
        assert reports.tell_the_end("d", final)
        assert (server.heard, slept) == (wanted, [])


def test_a_log_that_was_lost_does_not_hold_up_the_report() -> None:
    server = Server()
    assert reports_to(server, [])[0].tell_the_end("d", "failure")
    assert server.heard == ["d failure"]


def test_what_is_too_large_is_not_sent_again() -> None:
    reports, slept = reports_to(Server(ServerError("No.", 413)))
    assert (reports.tell_the_end("d", "success"), slept) == (True, [])


def test_an_aborted_deployment_needs_no_last_word() -> None:
    server = Server(DeploymentAborted("It is."))
    assert reports_to(server)[0].tell_the_end("d", "failure")
    assert server.heard == []


@pytest.mark.parametrize("status", [None, 400, 401, 403, 404, 408, 422, 429, 500, 503])
def test_an_end_is_told_as_soon_as_the_server_listens(status: int | None) -> None:
    server = Server(*[ServerError("Not now.", status)] * 3, ServerError("Not now.", status, retry_after=700.0))
    reports, slept = reports_to(server)
    assert reports.tell_the_end("d", "success")
    assert (server.heard, slept) == (["d success"], [*PAUSES[:3], 700.0])


@pytest.mark.parametrize("status", [413, 503, None])
def test_a_log_that_is_not_taken_is_let_go(status: int | None) -> None:
    server = Server()
    reports, slept = reports_to(server)
    replies: Iterator[ServerError | None] = iter([None, *[ServerError("No.", status)] * 10])

    def answer(_: str) -> None:
        if found := next(replies):
            raise found

    server._next = answer  # type: ignore[method-assign]
    assert reports.tell_the_end("d", "failure"), "the status has been told"
    assert len(slept) == (0 if status == 413 else 2)


def test_an_end_that_nobody_hears_is_kept_for_later_and_told_before_anything_new_is_asked_for() -> None:
    server = Server(*[ServerError("Not now.")] * (len(PAUSES) + 1))
    reports, slept = reports_to(server)
    simulation = Simulation()
    world = replace(simulation.world(), reports=reports)
    began = Device({"artifact_name": "new"}, Update("update-status-report", "d"))
    device, event = Actions(world)(Step.REPORT, began)
    assert (event, device.untold, slept) == (Event.DONE, {"d": "success"}, PAUSES)

    store = MemoryStore(simulation)
    store.save(replace(device, update=None))
    server.errors = [ServerError("Still not.")]
    daemon = daemon_of(simulation, server, store)
    daemon.turn()
    assert (server.heard, store.load().untold) == (["ask for board with new"], {"d": "success"}), "it blocks nothing"
    daemon.update.due = 0.0
    daemon.turn()
    assert (server.heard[1:], store.load().untold) == (["d success", "ask for board with new"], {})


# -- on the way --------------------------------------------------------------------------------------------------------


def test_on_the_way_only_an_abort_matters() -> None:
    for error, event in ((ServerError("No."), Event.DONE), (DeploymentAborted("Yes."), Event.ABORTED)):
        reports, slept = reports_to(Server(error))
        assert (reports.tell("d", "downloading", must=False), slept) == (event, [])


def test_before_the_commit_the_server_must_hear_with_a_fresh_token() -> None:
    server = Server(ServerError("Not now."))
    reports, slept = reports_to(server)
    assert reports.tell("d", "installing", must=True) is Event.DONE
    assert (server.heard, slept) == (["new token", "d installing"], PAUSES[:1])
    reports, slept = reports_to(Server(*[ServerError("Not now.")] * 100))
    assert (reports.tell("d", "installing", must=True), slept) == (Event.FAILED, PAUSES)


# -- asking ------------------------------------------------------------------------------------------------------------


def daemon_of(simulation: Simulation, server: Server, store: MemoryStore) -> Daemon:
    reports, _ = reports_to(server)
    world = replace(simulation.world(), reports=reports)
    log_of = cast(DeploymentLog, NoLog())
    daemon = Daemon(Config(), world, store, cast(Session, server), reports, log_of, lambda _: set())
    daemon.inventory.due = 1e9
    return daemon


def poll(server: Server) -> list[str]:
    simulation = Simulation()
    daemon = daemon_of(simulation, server, MemoryStore(simulation))
    daemon.inventory.due = 0.0
    daemon.turn()
    daemon.turn()
    return [heard.split()[0] for heard in server.heard]


def test_an_inventory_that_is_refused_does_not_stand_in_the_way() -> None:
    assert poll(Server()) == ["inventory", "ask"]
    for status in (None, 400, 401, 500):
        assert poll(Server(ServerError("No.", status))) == ["ask"]


def test_what_fails_is_tried_again_soon_and_what_works_as_configured() -> None:
    timer = Timer(1800, lambda: delays(300), 5000)
    dues = []
    for _ in range(len(PAUSES) + 1):
        timer.failed(0.0)
        dues.append(timer.due)
    assert dues == [*PAUSES, 1800]
    timer.failed(10.0, 4000.0)
    assert timer.due == 4010, "a server that asks for patience gets it"
    timer.failed(10.0, 99999.0)
    assert timer.due == 5010, "within bounds"
    timer.failed(10.0, 0.0)
    assert timer.due == 70, "one that wants none at all does not"
    timer.succeeded(10.0)
    assert timer.due == 1810
    timer.failed(0.0)
    assert timer.due == PAUSES[0]


# -- the download ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("error", [OSError(5, "Input/output error"), UpdaterError("oh"), ServerError("oh", 500)])
def test_whatever_breaks_the_download_fails_it(error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise error

    device = Device({"artifact_name": "old"}, Update("update-store", "d"))
    with monkeypatch.context() as patch:
        patch.setattr(Actions, "_open", broken)
        after, event = Actions(Simulation().world())(Step.HEADER, device)
    assert (event, after.update) == (Event.FAILED, device.update)
    monkeypatch.setattr(Actions, "_open", lambda *_: artifact())
    monkeypatch.setattr("tests.unit.updater_simulation.FakeRootfs.download", broken)
    actions = Actions(Simulation().world())
    device, event = actions(Step.HEADER, device)
    assert event is Event.DONE
    assert actions(Step.DOWNLOAD, device)[1] is Event.FAILED


@pytest.mark.parametrize(("active", "trial"), [("a", True), ("b", False)])
def test_nothing_is_installed_over_a_trial_or_the_slot_that_would_boot(
    active: str, trial: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Actions, "_open", lambda *_: artifact())
    simulation = Simulation()
    simulation.disk.active, simulation.disk.trial = active, trial
    device = Device({"artifact_name": "old"}, Update("update-store", "d"))
    after, event = Actions(simulation.world())(Step.HEADER, device)
    assert (event, after.update and after.update.payload_type) == (Event.FAILED, "")
    with pytest.raises(InstallRefused):
        simulation.installer(device).planned(device.update or Update(""), artifact())


def test_a_device_without_its_slots_says_so() -> None:
    with pytest.raises(UpdaterError, match="in neither slot"):
        Slots({"a": Path("/dev/null")}).running()
