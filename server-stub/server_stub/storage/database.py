# SPDX-License-Identifier: Apache-2.0
"""The database file: connections, transactions and durability. Knows no table.

A transaction that has left `writing()` without an error is on the disk: SQLite's write-ahead log, flushed at each
commit. Whoever answers a client after that block may promise that nothing will be lost.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from sqlalchemy import URL, Connection, create_engine, event, text
from sqlalchemy.exc import DatabaseError

from server_stub.errors import HostProblem
from server_stub.storage import schema

# As many as the worker threads that serve requests: nobody waits for a connection.
CONNECTIONS = 40
# Seconds to wait for another process (`user add`) that is writing.
PATIENCE = 10


class Database:
    def __init__(self, path: Path) -> None:
        self._engine = create_engine(
            URL.create("sqlite", database=str(path)),
            pool_size=CONNECTIONS,
            connect_args={"timeout": PATIENCE},
        )
        event.listen(self._engine, "connect", _prepare)
        event.listen(self._engine, "begin", _begin)
        self._writing_engine = self._engine.execution_options(begin="IMMEDIATE")
        # SQLite has one writer at a time; waiting here is fair and never times out.
        self._writer = threading.Lock()
        try:
            self._create(path)
        except DatabaseError as problem:
            raise HostProblem(f"{path} cannot be opened as the server's database ({problem.orig}).") from None

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        with self._writer, self._writing_engine.begin() as connection:
            yield connection

    def close(self) -> None:
        self._engine.dispose()

    def _create(self, path: Path) -> None:
        with self.writing() as connection:
            found = connection.execute(text("PRAGMA user_version")).scalar_one()
            if found == 0:
                schema.metadata.create_all(connection)
                connection.execute(text(f"PRAGMA user_version = {schema.VERSION}"))
            elif found != schema.VERSION:
                raise HostProblem(
                    f"{path} was made by another version of the server: choose a new directory with --dir."
                )


def _prepare(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: _begin says which kind.
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")


def _begin(connection: Connection) -> None:
    # A writer takes its lock at once: a transaction that reads first could otherwise be refused half-way.
    kind = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")
