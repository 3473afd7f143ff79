# SPDX-License-Identifier: Apache-2.0
"""Workers side by side, with programs in their place that boot nothing."""

from pathlib import Path

import pytest

from harness.errors import HostProblem
from harness.explore.pool import booted
from harness.explore.revive import Booted, Task
from tests.unit.pool_programs import ANSWERS, ENDS, put_in_place


def tasks(count: int, runs: Path) -> list[Task]:
    return [Task(number, "recording", str(number), 0, str(runs)) for number in range(count)]


@pytest.mark.parametrize("workers", [1, 3, 20])
def test_every_task_is_answered_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, workers: int) -> None:
    put_in_place(monkeypatch, ANSWERS)
    wanted = tasks(10, tmp_path)
    found = list(booted(wanted, tmp_path / "errors", workers=workers))
    assert sorted(task.number for task, _ in found) == list(range(10))
    assert all(answer == Booted(task.point, 0, "held", "") for task, answer in found)


def test_nothing_to_do_needs_no_worker(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, ENDS)
    assert list(booted([], tmp_path / "errors", workers=2)) == []


def test_a_worker_that_ends_is_told_with_its_last_word(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    put_in_place(monkeypatch, ENDS)
    with pytest.raises(HostProblem, match="A worker has ended: There is no room"):
        list(booted(tasks(3, tmp_path), tmp_path / "errors", workers=2))


def test_who_has_seen_enough_leaves_no_worker_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pids = tmp_path / "pids"
    put_in_place(monkeypatch, f"import os; open({str(pids)!r}, 'a').write(f'{{os.getpid()}}\\n')\n{ANSWERS}")
    results = booted(tasks(50, tmp_path), tmp_path / "errors", workers=2)
    next(results)
    results.close()  # type: ignore[attr-defined]
    running = [pid for pid in pids.read_text().split() if Path("/proc", pid).exists()]
    assert running == []
