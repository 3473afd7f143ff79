# SPDX-License-Identifier: Apache-2.0
"""Every planted fault that has a scenario is caught by it, and as a violation; bench/mutants.py explores the others."""

import json
import subprocess
import sys
from pathlib import Path

import pytest

from harness.exitcodes import ExitCode
from images.mutants import MUTANTS

ROOT = Path(__file__).parents[2]
CAUGHT = [name for name, one in MUTANTS.items() if one.caught_by]


@pytest.mark.stack
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", CAUGHT)
def test_planted_fault_is_caught(name: str, tmp_path: Path) -> None:
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", f"scenarios/{MUTANTS[name].caught_by}"]
    command += ["--mutant", name, "--runs", str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=800, check=False)
    assert done.returncode == ExitCode.VIOLATED, done.stdout[-3000:] + done.stderr[-3000:]
    verdicts = json.loads(next(tmp_path.glob("*/verdicts.json")).read_text())
    violated = {finding["rule"] for verdict in verdicts for finding in verdict["findings"] if not finding["holds"]}
    assert MUTANTS[name].rule in violated
