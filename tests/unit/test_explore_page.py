# SPDX-License-Identifier: Apache-2.0
"""The page of an exploration, and the least that still is violated where only boots have shown it."""

import json
import re
import shutil
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from harness.explore.exploration import Exploration
from harness.explore.plan import Plan
from harness.explore.pool import Pool, Result
from harness.explore.recording import Recording
from harness.explore.revive import Booted, Task
from harness.explore.touched import LEFT, Touched
from harness.storage import CrashPoint
from images.layout import SECTOR
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import make

SAYS = "Slot B was <never> seen"


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return make(tmp_path / "recording")


@pytest.fixture
def boards(tmp_path: Path) -> tuple[Pool, list[CrashPoint]]:
    """A pool of written boards, violated where the third operation is lost; and the points that were booted."""
    asked: list[CrashPoint] = []

    def booted(tasks: Sequence[Task], _: Path) -> Iterator[Result]:
        for task in tasks:
            point = CrashPoint.parse(task.point)
            asked.append(point)
            bad = 2 in point.lost
            run = tmp_path / "boots" / "one"
            run.mkdir(parents=True, exist_ok=True)
            (run / "touched").write_bytes(Touched(bytes([LEFT]) * (LAYOUT.disk.size // SECTOR)).packed())
            yield (
                task,
                Booted(
                    task.point, task.heard, "violated" if bad else "held", SAYS if bad else "", "a",
                    None if bad else "new", "success", 1.5 + len(asked) % 7, folder=str(run),
                ),
            )  # fmt: skip

    return booted, asked


def explored(tmp_path: Path, recording: Recording, pool: Pool) -> Exploration:
    exploration = Exploration(tmp_path, recording, lambda _: None)
    exploration.judge(Plan(boots=40, seed=2))
    for _ in exploration.boot(exploration.planned()[:40], pool):
        pass
    return exploration


def test_the_least_that_boots_still_show_is_found(
    tmp_path: Path, recording: Recording, boards: tuple[Pool, list[CrashPoint]]
) -> None:
    pool, asked = boards
    exploration = explored(tmp_path, recording, pool)
    violated = [point for point in asked if 2 in point.lost]
    assert violated
    exploration.explain(40, pool)
    found = exploration.violations()
    assert len(found) == len(violated)
    for one in found:
        assert one["says"] == SAYS
        assert re.search(r"@slot.write\+\d+,lost=\d+$", one["least"]), "one lost write, and nothing torn"
        assert one["words"][1].startswith("Lost: slot B from byte 65,536, 65,536 bytes")
    before = len(asked)
    exploration.explain(40, pool)
    assert len(asked) == before, "what is known is not looked for again"


def test_no_more_boots_are_spent_than_were_allowed(
    tmp_path: Path, recording: Recording, boards: tuple[Pool, list[CrashPoint]]
) -> None:
    pool, asked = boards
    exploration = explored(tmp_path, recording, pool)
    before, violated = len(asked), sum(2 in point.lost for point in asked)
    exploration.explain(0, pool)
    assert (len(asked), exploration.violations()) == (before, [])
    exploration.explain(2, pool)
    assert len(exploration.violations()) == violated
    assert before < len(asked) <= before + 2 * violated


def test_the_page_has_the_picture_the_violations_the_classes_and_the_times(
    tmp_path: Path, recording: Recording, boards: tuple[Pool, list[CrashPoint]]
) -> None:
    pool, asked = boards
    exploration = explored(tmp_path, recording, pool)
    exploration.explain(20, pool)
    exploration.decide()
    report = exploration.report()
    page = (tmp_path / "report.html").read_text()
    assert page.count("<svg") == 2
    assert SAYS not in page, "it is escaped"
    assert page.count("Slot B was &lt;never&gt; seen") == len(report["violations"]) > 0
    assert all(name in page for name in report["violations"])
    assert page.count("<tr>") == report["classes"] + 1
    held = sum(2 not in point.lost for point in asked[: report["states_booted"]])
    assert f"{held} boots: " in page
    assert report["states_decided"] >= held, "each boot decides its own point"
    assert '<p class="violated">Violated.</p>' in page
    assert page.count('<a href="boots/one/">') == len(report["violations"])


def test_a_folder_may_be_moved(tmp_path: Path, boards: tuple[Pool, list[CrashPoint]]) -> None:
    """The boots that were made still decide what they did, and the others are made where it is now."""
    pool, _ = boards
    before = tmp_path / "before"
    before.mkdir()
    exploration = explored(before, make(before / "recording"), pool)
    shutil.move(tmp_path / "boots", before)
    exploration.decide()
    decided = exploration.report()["states_decided"]
    assert decided > 0
    moved = shutil.move(before, tmp_path / "moved")
    again = Exploration(moved, Recording(moved / "recording"), lambda _: None)
    again.decide()
    assert again.report()["states_decided"] == decided
    assert all(one.task.recording == str(moved / "recording") for one in again.planned())
    assert all(one.task.runs == str(moved / "boots") for one in again.planned())
    shutil.rmtree(moved / "boots")
    again.decide()
    assert again.report()["states_decided"] == 0, "what a boot has touched is not known any more"


def test_what_recoveries_have_shown_is_on_the_page(tmp_path: Path, recording: Recording) -> None:
    exploration = Exploration(tmp_path, recording, lambda _: None)
    exploration.judge(Plan(boots=0))
    first, second = (one.crash_id for one in exploration.planned()[:2])
    report = exploration.report()
    explored_too = {**report, "first": first, "folder": "recovery-1"}
    failed = {**dict.fromkeys(report, 0), "first": second, "says": "It never came back.", "violations": [second]}
    both = exploration.report([explored_too, failed])
    assert json.loads((tmp_path / "report.json").read_text()) == both
    assert both["violations"] == [second]
    page = (tmp_path / "report.html").read_text()
    assert f'<a href="recovery-1/report.html"><code>{first}</code></a>' in page
    assert page.count("It never came back.") == 1


@pytest.mark.parametrize(
    ("found", "outcome"),
    [({}, "held"), ({"suspicious_left": 1}, "inconclusive"), ({"inconclusive": 1}, "inconclusive")],
)
def test_a_recovery_with_open_points_is_inconclusive(
    tmp_path: Path, recording: Recording, found: dict[str, int], outcome: str
) -> None:
    exploration = Exploration(tmp_path, recording, lambda _: None)
    exploration.judge(Plan(boots=0))
    explored_too = {**exploration.report(), "first": exploration.planned()[0].crash_id, "folder": "recovery-1", **found}
    exploration.report([explored_too])
    page = (tmp_path / "report.html").read_text()
    assert f'<td class="{outcome}">{outcome}</td></tr></table><h2>Classes' in page
    assert "crash points, those of the recoveries among them." in page


def test_an_exploration_without_boots_has_a_page_too(tmp_path: Path, recording: Recording) -> None:
    exploration = Exploration(tmp_path, recording, lambda _: None)
    exploration.judge(Plan(boots=0))
    exploration.report()
    page = (tmp_path / "report.html").read_text()
    assert "Nothing was booted." in page
    assert "<p>None.</p>" in page
