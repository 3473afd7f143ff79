# SPDX-License-Identifier: Apache-2.0
"""The database: transactions and durability, on SQLite or PostgreSQL. Knows no table.

A transaction that has left `writing()` without an error is on the disk. One is written at a time: among threads by a
lock, among processes by SQLite's own or by an advisory lock of PostgreSQL. So a rule that reads and then writes is
never raced.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import re2
from sqlalchemy import URL, Connection, Engine, create_engine, event, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from server_stub.errors import BadInput, HostProblem
from server_stub.storage import revisions
from server_stub.storage.migrate import migrate
from server_stub.storage.revisions import Topic

# Threads that read at once; more only wait for each other.
READERS = 8
# Seconds to wait for another process that is writing.
PATIENCE = 10
# Any number that no other program on the same database uses for its own lock.
ADVISORY_LOCK = 0x626F6F74
# A statement that fails is written to the log, where the hash of a password or a body has no place.
HIDE_PARAMETERS = True


class Database:
    """Transactions on one database.

    Raises:
        BadInput: the URL names no database this server knows.
        HostProblem: it cannot be opened, or was made by a later server.
    """

    def __init__(self, url: URL) -> None:
        self.is_shared = url.get_backend_name() == "postgresql"
        self._engine = _postgresql(url) if self.is_shared else _sqlite(url)
        writing = {"writing": True} if self.is_shared else {"begin": "IMMEDIATE"}
        self._writing_engine = self._engine.execution_options(**writing)
        self._writer = threading.Lock()
        try:
            with self._only_writer() as connection:
                migrate(connection)
                revisions.prepare(connection)
        except SQLAlchemyError as problem:
            self.close()
            raise _unusable(url, problem) from None
        except HostProblem:
            self.close()
            raise

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A transaction that sees the database as it is at its first statement."""
        with self._engine.begin() as connection:
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that is alone in writing; what it has touched (storage.revisions) is counted up."""
        with self._only_writer() as connection:
            yield connection
            revisions.count_up(connection)

    @contextmanager
    def batch(self, new: dict[Topic, int]) -> Iterator[Connection]:
        """The same; puts into `new` what has been counted up, which counts once the block has been left."""
        with self._only_writer() as connection:
            yield connection
            new.update(revisions.count_up(connection))

    def close(self) -> None:
        self._engine.dispose()

    @contextmanager
    def _only_writer(self) -> Iterator[Connection]:
        with self._writer, self._writing_engine.begin() as connection:
            connection.info.clear()
            yield connection


@contextmanager
def explained(url: URL) -> Iterator[None]:
    """Around what a command does with the database, outside of any request: what fails is a HostProblem."""
    try:
        yield
    except DBAPIError as problem:
        raise _unusable(url, problem) from None


def _unusable(url: URL, problem: SQLAlchemyError) -> HostProblem:
    reason = str(problem.orig if isinstance(problem, DBAPIError) else problem).splitlines()[0]
    where, advice = url.render_as_string(), "see that it runs and lets this user in"
    if url.database and url.get_backend_name() == "sqlite":
        where, advice = url.database, "make room if the disk is full, or bring back a copy of the file if it is damaged"
    return HostProblem(f"{where} cannot be used as the server's database ({reason}): {advice}.")


def read_url(text: str) -> URL:
    """A database's URL as the owner gives it; raises BadInput."""
    try:
        url = make_url(text)
        backend = url.get_backend_name()
    except (ArgumentError, NoSuchModuleError):
        raise BadInput(f"{text[:80]!r} is no database: give --database as postgresql://user@host/name.") from None
    if backend != "postgresql":
        raise BadInput(f"{backend} is no database of this server: give --database as postgresql://user@host/name.")
    return url.set(drivername="postgresql+psycopg")


def sqlite_at(folder: Path) -> URL:
    """The database of a server's directory."""
    return URL.create("sqlite", database=str(folder / "server.sqlite"))


def _sqlite(url: URL) -> Engine:
    engine = create_engine(
        url, pool_size=READERS + 2, connect_args={"timeout": PATIENCE}, hide_parameters=HIDE_PARAMETERS
    )
    event.listen(engine, "connect", _prepare_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


def _prepare_sqlite(connection: Any, _record: object) -> None:
    # The driver must not begin transactions by itself: _begin_sqlite says which kind.
    connection.isolation_level = None
    for pragma in ("journal_mode = WAL", "synchronous = FULL", "foreign_keys = ON"):
        connection.execute(f"PRAGMA {pragma}")
    connection.create_function("regexp", 2, _regexp, deterministic=True)


def _regexp(pattern: str, text: str | None) -> bool:
    """SQLite's REGEXP. Patterns and texts come from strangers: RE2 needs no more than linear time for any."""
    return text is not None and re2.search(pattern, text) is not None


def _begin_sqlite(connection: Connection) -> None:
    # A writer takes its lock at once: a transaction that reads first could otherwise be refused half-way.
    kind = connection.get_execution_options().get("begin", "DEFERRED")
    connection.exec_driver_sql(f"BEGIN {kind}")


def _postgresql(url: URL) -> Engine:
    try:
        engine = create_engine(
            url,
            pool_size=READERS + 2,
            pool_pre_ping=True,
            isolation_level="READ COMMITTED",
            pool_timeout=PATIENCE,
            hide_parameters=HIDE_PARAMETERS,
        )
    except ImportError:
        raise HostProblem("PostgreSQL needs its driver: install bootproof[postgresql].") from None
    event.listen(engine, "begin", _begin_postgresql)
    return engine


def _begin_postgresql(connection: Connection) -> None:
    if connection.get_execution_options().get("writing"):
        # Each statement after this one sees all that the writer before has committed.
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({ADVISORY_LOCK})")
    else:
        connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ READ ONLY")
