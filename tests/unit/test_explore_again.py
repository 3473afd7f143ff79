# SPDX-License-Identifier: Apache-2.0
"""Both orders in one report, and a recovery's crash IDs found again."""

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest

from harness.cli import main
from harness.exitcodes import ExitCode
from harness.explore.again import explore_again
from harness.explore.archive import pack
from harness.explore.crashid import CrashId
from harness.explore.exploration import Exploration
from harness.explore.figures import together
from harness.explore.plan import Plan
from harness.explore.pool import Pool, Result
from harness.explore.recording import Recording
from harness.explore.revive import Booted, Task
from harness.judge import Outcome
from harness.storage import CrashPoint
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import make


def test_what_both_orders_found_is_one_report(tmp_path: Path) -> None:
    reports = []
    for name, trial in (("first", True), ("again", False)):
        folder = tmp_path / name
        folder.mkdir()
        exploration = Exploration(folder, make(folder / "recording", trial=trial), lambda _: None)
        exploration.judge(Plan(boots=0))
        reports.append(exploration.report())
    first, again = reports
    both = together(first, [{"first": "id", **again}])
    assert both["states_judged"] == first["states_judged"] + again["states_judged"]
    assert both["states_total"] == first["states_total"] + again["states_total"]
    assert both["violations"] == again["violations"] != []
    assert both["recoveries"][0]["first"] == "id"
    assert together(first, []) == {**first, "recoveries": []}


def test_a_point_of_a_recovery_is_found_below_its_exploration(tmp_path: Path) -> None:
    folder = tmp_path / "explored" / "recovery-1"
    folder.mkdir(parents=True)
    recording = make(folder / "recording")
    crash_id = str(CrashId.of(recording, CrashPoint(3), recording.about.heard[0]))
    pack(recording)
    disk = tmp_path / "disk.img"
    assert main(["replay", crash_id, "--image", str(disk), "--runs", str(tmp_path)]) == ExitCode.HELD
    assert disk.stat().st_size == LAYOUT.size


def first_order(folder: Path) -> Exploration:
    folder.mkdir()
    exploration = Exploration(folder, make(folder / "recording"), lambda _: None)
    exploration.judge(Plan(boots=5))
    return exploration


def in_its_place(answer: Callable[[Task], Booted]) -> Pool:
    """Instead of a pool of boards."""

    def pool(tasks: Sequence[Task], _: Path) -> Iterator[Result]:
        return ((task, answer(task)) for task in tasks)

    return pool


@pytest.mark.parametrize("outcome", [Outcome.VIOLATED, Outcome.INCONCLUSIVE])
def test_a_recovery_that_is_none_is_reported(tmp_path: Path, outcome: Outcome) -> None:
    """Its first cut is what shows it."""
    exploration = first_order(tmp_path / "explored")
    pool = in_its_place(lambda task: Booted(task.point, task.heard, outcome.value, "It went wrong.", folder="x"))
    both = together(exploration.report(), explore_again(exploration, 2, 6, 0, pool))
    firsts = [one["first"] for one in both["recoveries"]]
    assert set(firsts) < {one.crash_id for one in exploration.planned()}
    assert [one["says"] for one in both["recoveries"]] == ["It went wrong."] * 2
    assert both["violations"] == sorted(firsts) * (outcome is Outcome.VIOLATED)
    assert both["inconclusive"] == 2 * (outcome is Outcome.INCONCLUSIVE)


def test_a_recovery_is_recorded_once_and_gone_on_with(tmp_path: Path) -> None:
    exploration = first_order(tmp_path / "explored")
    asked: list[Task] = []

    def answer(task: Task) -> Booted:
        asked.append(task)
        if task.records:
            recording = make(Path(task.records))
            Recording.save(recording.folder, replace(recording.about, first=task.first))
            return Booted(task.point, task.heard, Outcome.HELD.value, "")
        return Booted(task.point, task.heard, Outcome.VIOLATED.value, "It did not hold.", folder="x")

    ((once,), (again,)) = (explore_again(exploration, 1, 2, 0, in_its_place(answer)) for _ in range(2))
    assert [bool(task.records) for task in asked] == [True, False, False], "all of it was known the second time"
    assert again == once
    assert len(again["violations"]) == again["states_booted"] == 2
    assert all(name.startswith("managed-again-1-") for name in again["violations"])
    (packed,) = (tmp_path / "explored" / "recovery-1").glob("*.zst")

    packed.unlink()  # as if it had been interrupted before it was recorded
    explore_again(exploration, 1, 2, 0, in_its_place(answer))
    assert [bool(task.records) for task in asked[3:]] == [True, False, False]


@pytest.mark.parametrize("more", [0, 2])
def test_suspicious_points_of_a_recovery_are_booted_beyond_its_boots(tmp_path: Path, more: int) -> None:
    """As many as may be: with the few boots of a recovery, what they leave would make all of it inconclusive."""
    exploration = first_order(tmp_path / "explored")

    def answer(task: Task) -> Booted:
        if task.records:
            recording = make(Path(task.records), flushes=False)
            Recording.save(recording.folder, replace(recording.about, first=task.first))
        return Booted(task.point, task.heard, Outcome.HELD.value, "", folder="x")

    (report,) = explore_again(exploration, 1, 1, more, in_its_place(answer))
    assert report["states_booted"] == 1 + more
    plan = json.loads((tmp_path / "explored" / "recovery-1" / "plan.json").read_text())
    lines = (tmp_path / "explored" / "recovery-1" / "boots.jsonl").read_text().splitlines()
    booted = [f"{one['point']} {one['heard']}" for one in map(json.loads, lines)]
    assert set(booted[1:]) <= set(plan["suspicious"])
    assert report["suspicious_left"] == len(set(plan["suspicious"]) - set(booted)) > 0
