# SPDX-License-Identifier: Apache-2.0
"""Ctrl-C in the middle of a run: no process is left (nor, with it, a lock), and no scratch folder."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from harness.clock import Deadline, poll
from harness.exitcodes import ExitCode

ROOT = Path(__file__).parents[2]


def processes_with(word: str) -> list[str]:
    """The command lines of all processes that have this word in theirs, but this one's."""
    found = []
    for one in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = one.read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except OSError:  # it has just ended
            continue
        if word in line and int(one.parent.name) != os.getpid():
            found.append(line)
    return found


def as_from_a_terminal() -> None:
    """These tests may run in the background of a shell, which has its children ignore Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@pytest.mark.stack
@pytest.mark.timeout(600)
def test_an_interrupted_run_leaves_nothing_behind(tmp_path: Path) -> None:
    runs = tmp_path / "interrupted-runs"
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "harness.cli", "run", "clean-update", "--runs", str(runs)]
    environment = {**os.environ, "TMPDIR": str(scratch), "PYTHONPATH": f"{ROOT}:{ROOT / 'server-stub'}"}
    with subprocess.Popen(
        command, cwd=ROOT, env=environment, stderr=subprocess.PIPE, text=True, preexec_fn=as_from_a_terminal
    ) as child:
        assert child.stderr is not None
        told = next(line for line in child.stderr if "Wait for a system to come up" in line)
        assert told
        assert [line for line in processes_with(str(runs)) if "qemu-system" in line]
        child.send_signal(signal.SIGINT)
        rest = child.stderr.read()
    assert child.returncode == ExitCode.INTERRUPTED
    assert "Interrupted." in rest
    assert poll(lambda: not processes_with(str(runs)), Deadline(10)), processes_with(str(runs))
    assert list(scratch.iterdir()) == []
