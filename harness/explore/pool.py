# SPDX-License-Identifier: Apache-2.0
"""Workers that boot crash points side by side.  What is done when somebody interrupts is not lost: results come one by
one, as they are ready."""

from __future__ import annotations

import contextlib
import json
import queue
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from harness.errors import HostProblem
from harness.explore.revive import Booted, Task
from harness.explore.worker import COMMAND
from harness.process import Process

Result = tuple[Task, Booted]
Pool = Callable[[Sequence[Task], Path], Iterator[Result]]  # boots tasks; takes, too, where complaints go


class Worker:
    """One process that boots; `errors` takes what it complains of.

    Raises (from `boot`):
        HostProblem: it has ended.
    """

    def __init__(self, errors: Path) -> None:
        self._process = Process(COMMAND, stderr=errors, stdout=subprocess.PIPE, stdin=subprocess.PIPE)

    def boot(self, task: Task) -> Booted:
        line = b""
        with contextlib.suppress(BrokenPipeError, ValueError):  # it has ended, or was put away meanwhile
            self._process.stdin.write(json.dumps(task.as_dict()).encode() + b"\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        if not line:
            said = self._process.said().rpartition("\n")[2]
            raise HostProblem(f"A worker has ended: {said}", "See what 'bootproof doctor' says of networks.")
        return Booted(**json.loads(line))

    def close(self) -> None:
        """Leave nothing behind, also of a board that is being booted."""
        self._process.terminate()


def booted(tasks: Sequence[Task], errors: Path, *, workers: int) -> Iterator[Result]:
    """Each task with what became of it, in the order in which they are ready.

    Raises:
        HostProblem: a worker cannot go on.
    """
    waiting: queue.SimpleQueue[Task] = queue.SimpleQueue()
    for task in tasks:
        waiting.put(task)
    ready: queue.SimpleQueue[Result | HostProblem] = queue.SimpleQueue()
    with contextlib.ExitStack() as undo:
        for _ in range(min(workers, len(tasks))):
            worker = Worker(errors)
            undo.callback(worker.close)
            threading.Thread(target=_serve, args=(worker, waiting, ready), daemon=True).start()
        for _ in tasks:
            result = ready.get()
            if isinstance(result, HostProblem):
                raise result
            yield result


def _serve(worker: Worker, waiting: queue.SimpleQueue[Task], ready: queue.SimpleQueue[Result | HostProblem]) -> None:
    with contextlib.suppress(queue.Empty):
        while True:
            task = waiting.get_nowait()
            try:
                ready.put((task, worker.boot(task)))
            except HostProblem as error:
                ready.put(error)
                return
