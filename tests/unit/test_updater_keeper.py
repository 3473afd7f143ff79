# SPDX-License-Identifier: Apache-2.0
"""A device whose bootloader has forgotten which system was kept."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import SimpleNamespace
from typing import NoReturn, cast

import pytest

from updater.bootenv import BootEnv, BootState
from updater.errors import BootEnvError, BootEnvLost, UpdaterError
from updater.keeper import RETURNS_LIMIT, Finding, Keeper, examine
from updater.slots import Slots
from updater.store import Device, Store, Update


@pytest.mark.parametrize(
    ("kept", "running", "active", "trial", "finding"),
    [
        ("a", "a", "a", False, Finding.FINE),
        ("b", "b", "b", False, Finding.FINE),
        ("", "a", "a", False, Finding.UNKNOWN),
        ("", "a", "b", False, Finding.OPEN),
        ("b", "a", "a", False, Finding.STALE),
        ("b", "a", "b", False, Finding.OPEN),
        ("b", "b", "b", True, Finding.RETURNED),
        ("a", "b", "b", True, Finding.OPEN),
        ("b", "a", "b", True, Finding.OPEN),
        ("a", "a", "b", False, Finding.OPEN),
    ],
)
def test_what_is_found(kept: str, running: str, active: str, trial: bool, finding: Finding) -> None:
    assert examine(kept, running, BootState(active, trial)) is finding


@dataclass
class Board:
    """Slots, an environment that can be lost, and a bootloader; `dead` slots do not come up."""

    store: Store
    running: str = "a"
    active: str = "a"
    trial: bool = False
    lost: bool = False
    dead: tuple[str, ...] = ()
    did: list[str] = field(default_factory=list)

    def read(self) -> BootState:
        if self.lost:
            raise BootEnvLost("There is none.")
        return BootState(self.active, self.trial)

    def initialise(self, slot: str) -> None:
        self.did.append(f"initialise {slot}")
        self.lost, self.active, self.trial = False, slot, False

    def flip(self, target: str) -> None:
        self.did.append(f"flip {target}")
        self.active, self.trial = target, True

    def commit(self) -> None:
        assert self.trial
        self.did.append("commit")
        self.trial = False

    def restore(self, origin: str) -> None:
        self.did.append(f"restore {origin}")
        self.active, self.trial = origin, False

    def run(self, argv: object, **_: object) -> str:
        assert argv == ["reboot"]
        return ""

    def now(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        assert seconds >= 600, "nothing else is begun while the system goes down"

    def devices(self) -> Slots:
        board = self

        class Running(Slots):
            def running(self) -> str:
                return board.running

        return Running({})

    def boot(self) -> None:
        """The bootloader, without an environment, takes slot A."""
        if self.lost:
            self.lost, self.active, self.trial = False, "a", False
        self.running = self.active
        if self.running in self.dead:
            assert self.trial, "a system that does not come up is only ever tried"
            self.running = self.active = "b" if self.running == "a" else "a"
            self.trial = False

    def keeper(self) -> Keeper:
        return Keeper(self.store, cast(BootEnv, self), self.devices(), self, self)

    def start(self) -> str:
        """The updater's start: empty, or what was in its way."""
        try:
            self.keeper().look()
        except UpdaterError as error:
            return str(error)
        return ""


@pytest.fixture
def board(tmp_path: Path) -> Board:
    store = Store(tmp_path)
    store.save(Device({"artifact_name": "old"}))
    return Board(store)


def test_the_first_start_notes_what_runs(board: Board) -> None:
    assert board.start() == ""
    assert (board.store.load().slot, board.did) == ("a", [])
    assert board.start() == ""
    assert board.did == []


def test_a_kept_slot_is_found_again(board: Board) -> None:
    board.store.save(Device({"artifact_name": "new"}, slot="b"))
    board.lost = True
    board.boot()
    assert "told to reboot" in board.start()
    board.boot()
    assert board.start() == ""
    device = board.store.load()
    assert (board.running, board.active, board.trial) == ("b", "b", False)
    assert (device.artifact_name, device.returns) == ("new", 0)
    assert device.incidents == {"environment_restored": 1, "returned_to_kept_slot": 1}


def test_a_kept_slot_that_is_dead_is_given_up_and_the_name_says_so(board: Board) -> None:
    board.store.save(Device({"artifact_name": "new"}, slot="b"))
    board.dead = ("b",)
    board.lost = True
    for _ in range(RETURNS_LIMIT):
        board.boot()
        assert "told to reboot" in board.start()
    board.boot()
    assert board.start() == ""
    device = board.store.load()
    assert (board.running, device.slot, device.artifact_name) == ("a", "a", "new_INCONSISTENT")
    assert device.incidents["kept_slot_lost"] == 1
    assert board.start() == ""
    assert board.store.load() == device


def test_an_environment_that_was_lost_while_the_device_runs_is_written_anew(board: Board) -> None:
    board.store.save(Device({"artifact_name": "new"}, slot="b"))
    board.running = board.active = "b"
    board.lost = True
    assert board.start() == ""
    assert (board.did, board.store.load().incidents) == (["initialise b"], {"environment_restored": 1})


def test_an_update_under_way_is_left_to_its_machine(board: Board) -> None:
    board.store.save(replace(Device({"artifact_name": "old"}, slot="b"), update=Update("reboot", "d")))
    assert board.start() == ""
    assert board.did == []


def test_what_an_update_that_is_no_more_has_left_open_is_closed(board: Board) -> None:
    board.store.save(Device({"artifact_name": "old"}, slot="a"))
    board.active = "b"
    with pytest.raises(UpdaterError, match="reboot the device first"):
        board.keeper().check()
    assert board.start() == ""
    assert (board.did, board.active) == (["restore a"], "a")
    board.keeper().check()
    board.running = board.active = "b"
    board.trial = True
    assert "told to reboot" in board.start()
    board.boot()
    assert board.start() == ""
    assert (board.running, board.active, board.trial) == ("a", "a", False)


@pytest.mark.parametrize(("running", "origin"), [("b", "a"), ("a", "a"), ("a", "b")])
def test_a_trial_whose_record_is_lost_is_ended_on_the_slot_that_is_not_on_trial(
    running: str, origin: str, tmp_path: Path
) -> None:
    """Nobody knows what was on trial, so nobody can say that it may stay; and no update can be made meanwhile."""
    target = {"a": "b", "b": "a"}[origin]
    board = Board(Store(tmp_path), running=running, active=target, trial=True)
    board.store.save(Device())
    board.start()
    board.boot()
    board.start()
    assert (board.running, board.active, board.trial) == (origin, origin, False)
    assert board.store.load().slot in ("", origin)
    board.start()
    assert board.store.load().slot == origin
    board.keeper().check()


def test_where_the_bootloader_cannot_be_asked_applications_may_still_come(
    board: Board, caplog: pytest.LogCaptureFixture
) -> None:
    """Whatever is wrong there might be mended by one; a system is refused by its own installer."""
    keeper = board.keeper()
    broken = cast(BootEnv, SimpleNamespace(read=fails(BootEnvError("It cannot be read."))))
    replace(keeper, env=broken).check()
    lost = cast(Slots, SimpleNamespace(running=fails(UpdaterError("It is in neither slot."))))
    replace(keeper, slots=lost).check()
    assert [one.getMessage() for one in caplog.records] == [
        "no system can be installed: It cannot be read.",
        "no system can be installed: It is in neither slot.",
    ]


def fails(error: Exception) -> Callable[[], NoReturn]:
    def raised() -> NoReturn:
        raise error

    return raised
