# SPDX-License-Identifier: Apache-2.0
"""How pytest ends when scenarios do: with our exit codes, also over several workers, also when one of them dies."""

import subprocess
import sys
from pathlib import Path

import pytest

from harness.exitcodes import ExitCode

ROOT = Path(__file__).parents[2]
STORIES = """\
import os
import pytest
from harness.errors import ClaimViolated, GuestFault, HostProblem, Inconclusive

@pytest.fixture
def catalogue():
    return None

def test_held(catalogue): pass
def test_violated(catalogue): raise ClaimViolated("It is not so.")
def test_guest(catalogue): raise GuestFault("It said nothing.")
def test_asserted(catalogue): assert 1 == 2
def test_unsure(catalogue): raise Inconclusive("Nobody knows.")
def test_host(catalogue): raise HostProblem("No disk.")
def test_bug(catalogue): raise KeyError("x")
def test_dies(catalogue): os._exit(9)
def test_tool(): raise Inconclusive("Not a scenario.")
"""


def end_of(folder: Path, *stories: str, workers: int = 0) -> int:
    (folder / "test_stories.py").write_text(STORIES)
    command = [sys.executable, "-m", "pytest", "-q", "-c", "/dev/null", "--rootdir", str(folder), "-p"]
    command += ["harness.pytest_plugin", "-p", "no:cacheprovider", *(["-n", str(workers)] if workers else [])]
    command += [f"test_stories.py::test_{story}" for story in stories]
    environment = {"PATH": "/usr/bin:/bin", "PYTHONPATH": f"{ROOT}:{ROOT / 'server-stub'}"}
    done = subprocess.run(command, cwd=folder, env=environment, capture_output=True, text=True, check=False)
    return done.returncode


@pytest.mark.parametrize(
    ("stories", "code"),
    [
        (("held",), ExitCode.HELD),
        (("violated", "held"), ExitCode.VIOLATED),
        (("guest",), ExitCode.VIOLATED),
        (("asserted",), ExitCode.VIOLATED),
        (("held", "unsure"), ExitCode.INCONCLUSIVE),
        (("host", "unsure"), ExitCode.HOST),
        (("bug",), ExitCode.HOST),
        (("unsure", "host", "violated"), ExitCode.VIOLATED),
        (("tool",), 1),
    ],
)
def test_the_worst_of_what_happened_is_the_exit_code(tmp_path: Path, stories: tuple[str, ...], code: int) -> None:
    assert end_of(tmp_path, *stories) == code


@pytest.mark.parametrize(
    ("stories", "code"),
    [
        (("held", "unsure"), ExitCode.INCONCLUSIVE),
        (("held", "dies"), ExitCode.HOST),
        (("unsure", "dies"), ExitCode.HOST),
        (("violated", "dies"), ExitCode.VIOLATED),
    ],
)
def test_a_worker_that_dies_is_no_finding_and_hides_none(tmp_path: Path, stories: tuple[str, ...], code: int) -> None:
    assert end_of(tmp_path, *stories, workers=1) == code
