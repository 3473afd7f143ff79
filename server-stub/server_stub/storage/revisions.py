# SPDX-License-Identifier: Apache-2.0
"""Revisions: how often each kind of thing has changed, counted in the transaction that changes it.

What is remembered outside the database carries the revision it was read at, and counts only while that is current.
"""

from collections.abc import Mapping
from enum import StrEnum

from sqlalchemy import Connection, bindparam, insert, select, update

from server_stub.storage.schema import revisions

_TOUCHED = "server_stub.touched"


class Topic(StrEnum):
    """A kind of thing that somebody remembers or looks at."""

    ACCESS = "access"
    """a token that counted may count no more"""
    WORK = "work"
    """a device that had nothing to do may have something"""
    DEVICES = "devices"
    DEPLOYMENTS = "deployments"
    ARTIFACTS = "artifacts"


def touch(connection: Connection, *topics: Topic) -> None:
    """Say, in a transaction that writes, what it changes."""
    connection.info.setdefault(_TOUCHED, set()).update(topics)


def count_up(connection: Connection) -> dict[Topic, int]:
    """Count up what the transaction has touched; what was touched, with its new number."""
    touched: set[Topic] = connection.info.pop(_TOUCHED, set())
    if not touched:
        return {}
    statement = update(revisions).where(revisions.c.topic == bindparam("which"))
    connection.execute(statement.values(number=revisions.c.number + 1), [{"which": topic} for topic in sorted(touched)])
    current = read(connection)
    return {topic: current[topic] for topic in touched}


def read(connection: Connection) -> Mapping[Topic, int]:
    known = {topic.value for topic in Topic}
    return {Topic(row.topic): row.number for row in connection.execute(select(revisions)) if row.topic in known}


def prepare(connection: Connection) -> None:
    """Give every topic its row."""
    missing = set(Topic) - set(read(connection))
    if missing:
        connection.execute(insert(revisions), [{"topic": topic, "number": 0} for topic in sorted(missing)])
