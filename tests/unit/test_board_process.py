# SPDX-License-Identifier: Apache-2.0
"""Programs beside the harness: they die with it, and a missing one is said to be missing."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.clock import Deadline, pause, poll
from harness.errors import HostProblem
from harness.process import Process
from images.stage import HERE
from tests.unit.processes import ended


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGTERM])
def test_it_dies_with_its_parent_however_that_ends(number: int, tmp_path: Path) -> None:
    script = (
        "import sys, time; from pathlib import Path; from harness.process import Process\n"
        "child = Process(['sleep', '600'], stderr=Path(sys.argv[1]))\n"
        "print(child.pid, flush=True); time.sleep(600)"
    )
    command = [sys.executable, "-c", script, str(tmp_path / "errors")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True, cwd=HERE.parent) as parent:
        assert parent.stdout
        child = int(parent.stdout.readline())
        # setpriv takes a moment to become the program; the signal is asked for before that.
        assert poll(lambda: b"sleep" in Path(f"/proc/{child}/cmdline").read_bytes()[:6], Deadline(10), every=0.01)
        assert not ended(child, 0)
        parent.send_signal(number)
    assert ended(child)


def test_a_missing_program_is_named(tmp_path: Path) -> None:
    with pytest.raises(HostProblem) as problem:
        Process(["no-such-program"], stderr=tmp_path / "errors")
    assert problem.value.message == "The program 'no-such-program' is missing."
    assert problem.value.next_step
    assert list(tmp_path.iterdir()) == []


def test_what_it_says_is_kept_and_its_end_is_seen(tmp_path: Path) -> None:
    process = Process(["sh", "-c", "echo said; echo complained >&2; exit 3"], stderr=tmp_path / "errors")
    assert poll(lambda: not process.running, Deadline(10), every=0.01)
    assert process.terminate() == 3
    assert process.said() == "said\ncomplained"
    with_output = Process(["echo", "kept apart"], stderr=tmp_path / "errors", stdout=subprocess.PIPE)
    assert with_output.stdout.readline() == b"kept apart\n"
    assert poll(lambda: not with_output.running, Deadline(10), every=0.01)
    assert with_output.terminate() == 0
    assert with_output.stdout.closed
    assert with_output.said() == "said\ncomplained"


def test_the_environment_is_small_and_known(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRET", "x")
    process = Process(["env"], stderr=tmp_path / "errors", env={"MINE": "1"})
    assert poll(lambda: not process.running, Deadline(10), every=0.01)
    names = {line.partition("=")[0] for line in process.said().splitlines()}
    assert {"MINE", "PATH", "LC_ALL"} <= names
    assert "SECRET" not in names


def test_killing_and_ending_can_be_repeated(tmp_path: Path) -> None:
    stubborn = Process(
        ["sh", "-c", "trap '' TERM; echo ready; sleep 600"], stderr=tmp_path / "e", stdout=subprocess.PIPE
    )
    assert stubborn.stdout.readline() == b"ready\n"
    stubborn.kill()
    stubborn.kill()
    assert not stubborn.running
    assert stubborn.terminate() == -signal.SIGKILL
    mild = Process(["sleep", "600"], stderr=tmp_path / "e")
    assert mild.terminate() == -signal.SIGTERM
    assert os.getpgid(0) != mild.pid


def test_a_deadline_passes_and_what_is_seen_is_given() -> None:
    assert Deadline(0).expired
    assert Deadline(600).remaining > 500
    seen = iter([None, False, 0])
    assert poll(lambda: next(seen), Deadline(600), every=0.001) == 0
    assert poll(lambda: None, Deadline(0)) is None
    pause(0)
