# SPDX-License-Identifier: Apache-2.0
"""Both orders in one report, and a recovery's crash IDs found again."""

from pathlib import Path

from harness.cli import main
from harness.exitcodes import ExitCode
from harness.explore.again import together
from harness.explore.archive import pack
from harness.explore.crashid import CrashId
from harness.explore.exploration import Exploration
from harness.explore.plan import Plan
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
