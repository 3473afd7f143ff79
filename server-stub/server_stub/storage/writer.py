# SPDX-License-Identifier: Apache-2.0
"""The writer: one thread that takes all jobs that wait, gives each its savepoint, and flushes once for all of them.

A job is a function of a connection. It may be refused by raising; then nothing of it is kept and the others are not
touched. It has no effect but on the database, and its result is handed out only once it is on the disk.
"""

import asyncio
import queue
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from sqlalchemy import Connection

from server_stub.errors import Busy
from server_stub.storage.database import Database
from server_stub.storage.revisions import Topic

Result = TypeVar("Result")
Job = Callable[[Connection], Result]
# Jobs committed together: beyond this the first of them would wait too long.
LARGEST_BATCH = 256
# Jobs that may wait: a client whose job does not find a place is told to come back.
LONGEST_QUEUE = 20_000


@dataclass(slots=True)
class _Waiting:
    job: Job[Any]
    future: asyncio.Future[Any]
    result: Any = None
    error: BaseException | None = None


class Writer:
    """Runs jobs for the event loop in which it was made; `committed` is called there with what has changed."""

    def __init__(self, database: Database, committed: Callable[[Mapping[Topic, int]], None]) -> None:
        self._database = database
        self._committed = committed
        self._loop = asyncio.get_running_loop()
        self._queue: queue.Queue[_Waiting | None] = queue.Queue(LONGEST_QUEUE)
        self._thread = threading.Thread(target=self._work, name="writer")
        self._thread.start()

    async def write(self, job: Job[Result]) -> Result:
        """The job's result once it is durable. Raises Busy, or what the job or the database raised."""
        waiting = _Waiting(job, self._loop.create_future())
        try:
            self._queue.put_nowait(waiting)
        except queue.Full:
            raise Busy("The server has more to write than it can: come back later.") from None
        result: Result = await waiting.future
        return result

    @property
    def waiting(self) -> int:
        return self._queue.qsize()

    def close(self) -> None:
        """Finish what waits, then end."""
        self._queue.put(None)
        self._thread.join()

    def _work(self) -> None:
        ends = False
        while not ends:
            batch = [self._queue.get()]
            while len(batch) < LARGEST_BATCH:
                try:
                    batch.append(self._queue.get_nowait())
                except queue.Empty:
                    break
            jobs = [one for one in batch if one is not None]
            ends = len(jobs) < len(batch)
            if jobs:
                new: dict[Topic, int] = {}
                self._write(jobs, new)
                self._loop.call_soon_threadsafe(self._tell, jobs, new)

    def _write(self, jobs: list[_Waiting], new: dict[Topic, int]) -> None:
        try:
            with self._database.batch(new) as connection:
                for one in jobs:
                    _run(connection, one)
        except Exception as error:
            # Nothing of the batch was kept, or it cannot be known: nobody is told that it was.
            new.clear()
            for one in jobs:
                one.error = one.error or error

    def _tell(self, jobs: list[_Waiting], new: Mapping[Topic, int]) -> None:
        # First what has changed, then that it has: who hears of a change no longer gets an answer from before it.
        if new:
            self._committed(new)
        for one in jobs:
            if one.future.done():
                continue
            if one.error is not None:
                one.future.set_exception(one.error)
            else:
                one.future.set_result(one.result)


def _run(connection: Connection, one: _Waiting) -> None:
    savepoint = connection.begin_nested()
    try:
        one.result = one.job(connection)
    except Exception as error:
        one.error = error
        savepoint.rollback()
    else:
        savepoint.commit()
