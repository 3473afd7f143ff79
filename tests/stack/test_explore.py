# SPDX-License-Identifier: Apache-2.0
"""An exploration from its beginning to its end: recorded, judged, booted, told, and replayed."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pexpect
import pytest

from harness.exitcodes import ExitCode

MANY = 10_000


def bootproof(*words: str, says: int) -> str:
    command = [sys.executable, "-m", "harness.cli", *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == says, done.stdout[-3000:] + done.stderr[-3000:]
    return done.stdout


def explored(folder: Path, *words: str, boots: int, says: int) -> dict[str, Any]:
    options = ["--seed", "5", "--boots", str(boots), "--jobs", "1", "--runs", str(folder), "--json"]
    found: dict[str, Any] = json.loads(bootproof("explore", *words, *options, says=says))
    return found


@pytest.mark.stack
def test_a_right_update_survives_everything(tmp_path: Path) -> None:
    report = explored(tmp_path, "managed", boots=3, says=ExitCode.HELD)
    assert report["states_judged"] >= MANY
    assert report["states_total"] > report["states_judged"]
    assert (report["violations"], report["inconclusive"]) == ([], 0)
    assert (report["states_booted"], report["classes_booted"], report["as_forecast"]) == (3, 3, 3)
    assert report["states_decided"] >= report["states_booted"]
    folder = next(tmp_path.glob("*-explore-managed-*"))
    assert "Time to recover" in (folder / "report.html").read_text()
    again = json.loads(bootproof("explore", "--resume", str(folder), "--boots", "3", "--json", says=ExitCode.HELD))
    assert again["states_booted"] == 3, "what was booted is not booted again"
    crash_id = json.loads((folder / "plan.json").read_text())["chosen"][0]["crash_id"]
    replayed = json.loads(bootproof("replay", crash_id, "--runs", str(tmp_path), "--json", says=ExitCode.HELD))
    assert replayed["outcome"] == "held"
    shell = pexpect.spawn(sys.executable, ["-m", "harness.cli", "replay", crash_id, "--shell", "--runs", str(tmp_path)])
    shell.expect("U-Boot 20", timeout=60)
    shell.expect(r"is up on /dev/vda\d", timeout=60)
    shell.send("\x1d")
    shell.expect(pexpect.EOF, timeout=60)
    shell.close()
    assert shell.exitstatus == ExitCode.HELD


def booted(folder: Path, *wanted: str) -> dict[str, Any]:
    """Of what was chosen, the first point of which these words are said, booted for each."""
    plan = json.loads((folder / "plan.json").read_text())
    chosen = [next(one for one in plan["chosen"] if words in one["says"]) for words in wanted]
    (folder / "plan.json").write_text(json.dumps({**plan, "chosen": chosen}))
    boots = str(len(chosen))
    report: dict[str, Any] = json.loads(
        bootproof("explore", "--resume", str(folder), "--boots", boots, "--json", says=ExitCode.HELD)
    )
    return report


@pytest.mark.stack
def test_an_update_by_hand_survives_everything(tmp_path: Path) -> None:
    """Booted are points where the person must do something once power is back."""
    report = explored(tmp_path, "standalone", boots=0, says=ExitCode.HELD)
    assert report["states_judged"] >= MANY
    folder = next(tmp_path.glob("*-explore-standalone-*"))
    again = booted(folder, "Before_ArtifactInstall_Enter", "Before_ArtifactCommit_Enter")
    assert (again["states_booted"], again["violations"], again["inconclusive"]) == (2, [], 0)
    assert again["states_decided"] >= again["as_forecast"] == 2


@pytest.mark.stack
def test_an_application_survives_everything(tmp_path: Path) -> None:
    """Booted are a point after which it is taken back, with its scripts, and one after which it is kept; the next
    update follows on both."""
    report = explored(tmp_path, "package", boots=0, says=ExitCode.HELD)
    assert report["states_judged"] >= MANY / 4
    again = booted(next(tmp_path.glob("*-explore-package-*")), "its payload not known", "update-after-commit")
    assert (again["states_booted"], again["violations"], again["inconclusive"]) == (2, [], 0)
    assert again["states_decided"] >= again["as_forecast"] == 2


@pytest.mark.stack
@pytest.mark.parametrize(
    ("planted", "broken"), [("two-step-flip", "commit"), ("counter-wraps", "commit"), ("success-before-commit", "kept")]
)
def test_a_planted_fault_is_found_without_booting(planted: str, broken: str, tmp_path: Path) -> None:
    """One by where the cut comes, one by a tear, one by what the server had heard; bench/mutants.py has all others."""
    report = explored(tmp_path, "managed", "--mutant", planted, boots=0, says=ExitCode.VIOLATED)
    assert report["violations"]
    assert report["states_booted"] == 0
    plan = json.loads(next(tmp_path.glob("*/plan.json")).read_text())
    assert {rule for one in plan["chosen"] for rule in one["violates"]} == {broken}
