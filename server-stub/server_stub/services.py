# SPDX-License-Identifier: Apache-2.0
"""What a request may use: handed over as one value, so that nothing in the server is global."""

import asyncio
import logging
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from typing import TYPE_CHECKING, TypeVar

import anyio.to_thread
from anyio import CapacityLimiter
from sqlalchemy import Connection
from sqlalchemy.exc import DBAPIError

from server_stub.clock import stamp
from server_stub.domain.limits import Limits
from server_stub.front.guards import Guards
from server_stub.front.metrics import Metrics
from server_stub.recent import Recent
from server_stub.storage import devices, revisions
from server_stub.storage.database import READERS, Database
from server_stub.storage.revisions import Topic
from server_stub.storage.store import ArtifactStore
from server_stub.storage.writer import Writer
from server_stub.web.bell import Bell

if TYPE_CHECKING:
    from server_stub.lab.laboratory import Laboratory
    from updater.artifact import PublicKey

log = logging.getLogger("server_stub")
Result = TypeVar("Result")
# Seconds between two looks at what other processes have changed, and between two notes of check-ins.
LOOK_EVERY = 0.5
NOTE_EVERY = 10.0
# Passwords looked at at once: each takes a core and 64 MiB for a while, on purpose.
HASHES = 2


@dataclass(frozen=True, slots=True)
class Policy:
    """What the owner has decided."""

    accept_all: bool = False
    limits: Limits = field(default_factory=Limits)
    artifact_keys: "Mapping[str, PublicKey]" = field(default_factory=dict)


class Services:
    """Made in the event loop it serves; `close` ends what `open` began."""

    def __init__(
        self, database: Database, store: ArtifactStore, secret: bytes, policy: Policy, laboratory: "Laboratory | None"
    ) -> None:
        self.database = database
        self.store = store
        self.secret = secret
        self.policy = policy
        self.laboratory = laboratory
        with database.reading() as connection:
            self.recent = Recent(revisions.read(connection))
        self.bell = Bell()
        self.metrics = Metrics()
        self.guards = Guards(policy.limits)
        self.writer = Writer(database, self._learn)
        self.hashing = CapacityLimiter(HASHES)
        self._readers = CapacityLimiter(READERS)
        self._tasks: list[asyncio.Task[None]] = []

    def open(self) -> None:
        loop = asyncio.get_running_loop()
        self._tasks.append(loop.create_task(self._repeat(NOTE_EVERY, self.note_check_ins)))
        if self.database.is_shared:
            self._tasks.append(loop.create_task(self._repeat(LOOK_EVERY, self._look)))

    async def close(self) -> None:
        for task in self._tasks:
            task.cancel()
        try:
            await self.note_check_ins()
        except DBAPIError as problem:
            log.error("the latest check-ins are not written: %s", str(problem.orig).splitlines()[0])
        finally:
            # Its thread would keep the process alive for ever, also where the database is gone.
            await anyio.to_thread.run_sync(self.writer.close)
            self.database.close()

    async def read(self, job: Callable[[Connection], Result]) -> Result:
        """The job's result from one consistent view of the database."""

        def run() -> Result:
            with self.database.reading() as connection:
                return job(connection)

        return await anyio.to_thread.run_sync(run, limiter=self._readers)

    async def glance(self, job: Callable[[Connection], Result]) -> Result:
        """The same for a few rows by their keys: on SQLite at once, since a thread would take four times as long."""
        if self.database.is_shared:
            return await self.read(job)
        with self.database.reading() as connection:
            return job(connection)

    async def write(self, job: Callable[[Connection], Result]) -> Result:
        """The job's result once it is durable (storage.writer)."""
        return await self.writer.write(job)

    def check_in(self, device: str, moment: datetime) -> None:
        """Note that a device has asked; written down a little later."""
        self.recent.check_in(device, moment)

    async def note_check_ins(self) -> None:
        """Those of now: what comes meanwhile waits for the next time."""
        portions = self.recent.take_check_ins()
        while portions:
            seen = {device: stamp(moment) for device, moment in portions[-1].items()}
            try:
                await self.write(partial(devices.note_check_ins, seen=seen))
            except Exception:
                for one in portions:
                    self.recent.put_back(one)
                raise
            portions.pop()

    def _learn(self, new: Mapping[Topic, int]) -> None:
        newer = self.recent.learn(new)
        if newer:
            self.bell.ring(newer)

    async def _look(self) -> None:
        self._learn(await self.read(revisions.read))

    async def _repeat(self, seconds: float, what: Callable[[], Awaitable[None]]) -> None:
        while True:
            await asyncio.sleep(seconds)
            # The database may be away for a while; requests say so, and the next turn tries again.
            with suppress(Exception):
                await what()
