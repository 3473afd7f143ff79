# SPDX-License-Identifier: Apache-2.0
"""The same tasks on a Dask cluster, for those who outgrow one machine.

Each process of the cluster keeps one worker, so that each board has a network of its own there, too.  Recordings and
run folders are expected at the same path on all machines; what a task and its result say is small.
"""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator, Sequence
from concurrent.futures import CancelledError
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

from harness.errors import BootproofError, HostProblem, UsageError
from harness.explore.pool import Result, Worker
from harness.explore.recording import ABOUT
from harness.explore.revive import Booted, Task

if TYPE_CHECKING:
    from distributed import Client, Future

CONNECT_SECONDS: Final = 10
START: Final = "dask worker {} --nthreads 1"
GO_ON: Final = "Start the cluster anew, and go on with --resume."
INSTALL: Final = "pip install 'bootproof[cluster]'"


class Cluster:
    """The connection to a cluster, by the address of its scheduler.

    Raises (when made):
        UsageError: that is no address.
        HostProblem: nobody answers there, or has workers; or Dask is not installed.
    """

    def __init__(self, scheduler: str) -> None:
        self.scheduler = scheduler
        self._client = _connected(scheduler)
        try:
            if not self._client.nthreads():
                raise HostProblem(
                    f"The scheduler at {scheduler} has no workers.",
                    f"Start some: {START.format(scheduler)}",
                )
        except BaseException:
            self.close()
            raise

    def booted(self, tasks: Sequence[Task], errors: Path) -> Iterator[Result]:
        """Each task with what became of it, in the order in which they are ready.

        Whoever has seen enough takes back what is still waiting; a board that is being booted comes to its end.

        Raises:
            HostProblem: a worker cannot go on.
        """
        from distributed import as_completed

        # The same task may be wanted again after it has failed, so its result is not the cluster's to remember.
        futures = self._client.map(_boot, tasks, errors=errors, start=START.format(self.scheduler), pure=False)
        by_future = dict(zip(futures, tasks, strict=True))
        try:
            for future in as_completed(futures):
                yield by_future[future], self._result(future)
        finally:
            self._client.cancel(futures)

    def close(self) -> None:
        """Leave the cluster as it was."""
        self._client.close()

    def _result(self, future: Future) -> Booted:
        try:
            booted: Booted = future.result()
            return booted
        except BootproofError:
            raise
        except CancelledError as error:
            raise HostProblem(f"The scheduler at {self.scheduler} is gone.", GO_ON) from error
        except Exception as error:  # whatever a cluster may say, and what its workers could not import
            says = str(error).partition("\n")[0] or type(error).__name__
            next_step = "See that each worker has the same Bootproof in its environment."
            raise HostProblem(f"The cluster at {self.scheduler} has failed: {says}.", next_step) from error


def _connected(scheduler: str) -> Client:
    try:
        from distributed import Client
    except ImportError as error:
        raise HostProblem("A cluster needs Dask, which is not installed.", f"Install it: {INSTALL}") from error
    logging.getLogger("distributed.client").setLevel(logging.CRITICAL)  # what it reports is said here in one sentence
    try:
        if not scheduler:
            raise ValueError("it is empty")  # Dask would start a cluster of its own
        return Client(scheduler, timeout=CONNECT_SECONDS)
    except ValueError as error:
        raise UsageError(
            f"'{scheduler}' is no address of a scheduler: {error}.", "Name one such as 127.0.0.1:8786."
        ) from error
    except OSError as error:
        raise HostProblem(
            f"No scheduler answers at {scheduler}.", "Start one with 'dask scheduler', which prints its address."
        ) from error


# -- on the cluster --------------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class _Kept:
    """This process's worker, and whose complaints it writes where."""

    errors: Path
    worker: Worker


_kept: _Kept | None = None


def _boot(task: Task, errors: Path, start: str) -> Booted:
    """Done by a process of the cluster.

    Raises:
        HostProblem: it has several threads, does not find the recording, or its worker has ended.
    """
    global _kept
    _must_be_fit(task, start)
    errors = errors.with_name(f"{errors.stem}-{socket.gethostname()}-{os.getpid()}{errors.suffix}")
    if _kept is None or _kept.errors != errors:
        _let_go()
        _kept = _Kept(errors, Worker(errors))
    try:
        return _kept.worker.boot(task)
    except HostProblem:
        _let_go()
        raise


def _let_go() -> None:
    global _kept
    if _kept is not None:
        _kept.worker.close()
    _kept = None


def _must_be_fit(task: Task, start: str) -> None:
    from distributed import get_worker

    worker = get_worker()
    if worker.state.nthreads != 1:
        raise HostProblem(
            f"The worker at {worker.address} has {worker.state.nthreads} threads, and there is one board at a time.",
            f"Start it anew: {start}",
        )
    if not Path(task.recording, ABOUT).exists():
        raise HostProblem(
            f"The worker at {worker.address} does not find the recording {task.recording}.",
            "Name a folder with --runs that all machines have at the same path.",
        )
