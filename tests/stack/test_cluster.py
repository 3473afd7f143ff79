# SPDX-License-Identifier: Apache-2.0
"""Crash points that are booted by two workers of a Dask cluster, all of them processes of their own."""

import contextlib
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.clock import Deadline, poll
from harness.commands.explore import recorded
from harness.explore.cluster import Cluster
from harness.explore.revive import Task
from harness.narrator import Narrator
from harness.process import Process
from harness.storage import CrashPoint

READY = {"scheduler": "Scheduler at:", "worker": "Registered to:"}


@contextlib.contextmanager
def dask(kind: str, log: Path, *words: str) -> Iterator[None]:
    """A process of a cluster, which is ready."""
    process = Process([sys.executable, "-m", "dask", kind, *words], stderr=log)
    try:
        assert poll(lambda: READY[kind] in process.said() or not process.running, Deadline(60))
        assert process.running, process.said()
        yield
    finally:
        process.terminate()


@pytest.fixture
def scheduler(tmp_path: Path) -> Iterator[str]:
    """The address of a cluster with two workers on this machine."""
    with socket.socket() as any_free:
        any_free.bind(("127.0.0.1", 0))
        port = any_free.getsockname()[1]
    with contextlib.ExitStack() as undo:
        address = f"127.0.0.1:{port}"
        words = ("--host", "127.0.0.1", "--port", str(port), "--no-dashboard")
        undo.enter_context(dask("scheduler", tmp_path / "scheduler.log", *words))
        for number in (1, 2):
            # Without a nanny it is one process, which is gone when it is ended.
            words = (address, "--nthreads", "1", "--no-nanny", "--no-dashboard", "--local-directory", str(tmp_path))
            undo.enter_context(dask("worker", tmp_path / f"worker-{number}.log", *words))
        yield address


@pytest.mark.stack
def test_two_workers_boot_side_by_side(scheduler: str, tmp_path: Path) -> None:
    folder, recording = recorded("managed", 5, None, tmp_path, Narrator())
    about = recording.about
    ends = ((about.began, 0), (about.ended, len(about.heard) - 1))
    points = [(str(CrashPoint(position)), heard) for position, heard in ends]
    tasks = [Task(n, str(recording.folder), *one, str(folder / "boots")) for n, one in enumerate(points)]
    with contextlib.closing(Cluster(scheduler)) as cluster:
        found = dict(cluster.booted(tasks, folder / "workers.log"))
    assert [(found[task].outcome, found[task].ended, found[task].told) for task in tasks] == [
        ("held", "new", "success")
    ] * 2
    assert [found[task].started for task in tasks] == ["a", "b"]
    assert len(list(folder.glob("workers-*.log"))) == 2, "each worker has booted one of them"
