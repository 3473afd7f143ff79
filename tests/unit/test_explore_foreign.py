# SPDX-License-Identifier: Apache-2.0
"""Somebody else's update: what is typed when, and what is looked at without our updater's marks and store."""

from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from harness.board import Board
from harness.board.console import Console
from harness.clock import Deadline
from harness.errors import GuestFault, HostProblem, UsageError
from harness.evidence import Events, RunFolder
from harness.explore import foreign
from harness.explore.commands import Commands
from harness.explore.forecast import forecast
from harness.explore.foreign import ForeignRig
from harness.explore.recording import Heard, Recording
from harness.explore.space import Space
from harness.explore.static import Judged, StaticJudge
from harness.judge import Outcome, ServerRecord
from tests.unit.small_recording import make
from tests.unit.typing_board import TypingBoard, typing_board


def foreign_recording(folder: Path, **fault: bool) -> Recording:
    """The update made by hand, as somebody else's: with other files of the owner, and without a server."""
    made = make(folder, **fault)
    about = replace(
        made.about, story="foreign", seed=99, by_hand=True, permitted=0, commands=Commands("install", check="true"),
        heard=(Heard(0, 0, ServerRecord(None), ""),),
    )  # fmt: skip
    return Recording.save(folder, about)


def judged(recording: Recording) -> list[Judged]:
    return list(StaticJudge(recording).judge_all(Space(recording)))


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory) -> tuple[Recording, list[Judged]]:
    """One without a fault, and all of its points."""
    recording = foreign_recording(tmp_path_factory.mktemp("right") / "recording")
    return recording, judged(recording)


def test_a_recording_keeps_the_commands(tmp_path: Path) -> None:
    made = foreign_recording(tmp_path / "recording")
    assert Recording(made.folder).about.commands == Commands("install", check="true")


def test_a_right_update_of_somebody_else_holds_everywhere(right: tuple[Recording, list[Judged]]) -> None:
    _, found = right
    assert {one.verdict.outcome for one in found} == {Outcome.HELD}
    assert {one.state.store for one in found} == {None}
    assert len({one.state.files for one in found}) == 2, "the updater's memory before and after its one write"


def test_nobody_has_to_permit_it(tmp_path: Path) -> None:
    found = judged(foreign_recording(tmp_path / "recording", trial=False))
    assert {one.verdict.outcome for one in found} == {Outcome.HELD}


def test_a_flip_before_the_flush_is_found(tmp_path: Path) -> None:
    found = judged(foreign_recording(tmp_path / "recording", flushes=False))
    broken = {finding.rule for one in found for finding in one.verdict.violations}
    assert "slot" in broken


def test_what_was_not_flipped_to_stays_old(right: tuple[Recording, list[Judged]]) -> None:
    recording, found = right
    assert forecast(found[0].state, recording.about).ends == "old"
    assert forecast(found[-1].state, recording.about).ends == "new"


class WrittenBoard:
    """As much of a board as typing needs."""

    power_ons = 1
    argv = ()
    on, switched_itself_off = True, False

    def __init__(self, console: Console) -> None:
        self.console = console

    def power_on(self) -> None:
        pass

    def said(self) -> str:
        return "no memory"


@contextmanager
def rig(folder: Path, commands: Commands, partition: int = 2) -> Iterator[tuple[ForeignRig, TypingBoard]]:
    """A rig whose board says that it runs on that partition."""
    about = replace(foreign_recording(folder / "recording").about, commands=commands)
    with (
        typing_board(folder, lambda said: said.replace(b"root on .", f"root on {partition}.".encode())) as (
            shell,
            wire,
        ),
        closing(Events(folder / "events.jsonl")) as events,
    ):
        run = RunFolder(folder, "foreign", 1)
        yield ForeignRig(about, cast(Board, WrittenBoard(wire)), run, events, 5.0), shell


@pytest.fixture(autouse=True)
def where(monkeypatch: pytest.MonkeyPatch) -> None:
    """This machine's root file system may be on no partition."""
    monkeypatch.setattr(foreign, "WHERE", "echo 'root on .'")


def typed(shell: TypingBoard, word: str) -> int:
    return sum(word in line for line in shell.lines)


def test_after_each_start_the_same_is_typed(tmp_path: Path) -> None:
    with rig(tmp_path, Commands("install", then="keep", check="exit 3")) as (made, shell):
        shell.restarts.append(b"keep")
        made.power_on()
        made.settle()
        assert (made.first, made.running) == ("b", "b")
        assert [typed(shell, word) for word in ("install", "keep", "exit 3")] == [0, 2, 1]


def test_a_board_that_starts_for_ever_does_not_settle(tmp_path: Path) -> None:
    with rig(tmp_path, Commands("install", then="keep && reboot")) as (made, shell):
        made.power_on()
        with pytest.raises(GuestFault, match="and did not settle"):
            made.settle()
        assert typed(shell, "keep") == foreign.STARTS


def test_a_root_that_is_in_no_slot(tmp_path: Path) -> None:
    with rig(tmp_path, Commands("install"), partition=3) as (made, _):
        made.power_on()
        with pytest.raises(GuestFault, match="does not say that its root file system is in a slot"):
            made.settle()


@pytest.mark.parametrize(("command", "reboots"), [("true", 1), ("echo; reboot", 0)])
def test_a_reboot_is_typed_unless_the_update_has_begun_one(command: str, reboots: int, tmp_path: Path) -> None:
    with rig(tmp_path, Commands(command)) as (made, shell):
        made.power_on()
        made.wait_up()
        made.install()
        made.settle()
        assert shell.lines.count("reboot") == reboots


def test_an_update_that_fails_is_not_explored(tmp_path: Path) -> None:
    with rig(tmp_path, Commands("echo no room; exit 5")) as (made, shell):
        made.power_on()
        made.wait_up()
        with pytest.raises(UsageError, match="ended with 5 when nothing was cut: no room"):
            made.install()
        assert "reboot" not in shell.lines


def test_a_machine_that_fails_is_not_the_boards_fault(tmp_path: Path) -> None:
    with rig(tmp_path, Commands("sleep 1")) as (made, _):
        made.power_on()
        made.wait_up()
        made._deadline = Deadline(0.2)
        cast(WrittenBoard, made.board).on = False
        with pytest.raises(HostProblem, match="QEMU has ended by itself: no memory"):
            made.install()


def test_nothing_is_seen_of_a_board_that_did_not_come_up(tmp_path: Path) -> None:
    with rig(tmp_path, Commands("install", ready="login: ")) as (made, _):
        made._patience = 0.2
        made.power_on()
        with pytest.raises(GuestFault, match="did not show 'login: '"):
            made.settle()
        seen: dict[str, Any] = dict(made.seen())
        assert seen == {"started": None, "ended": None, "unused": None}
