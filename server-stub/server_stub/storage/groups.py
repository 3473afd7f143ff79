# SPDX-License-Identifier: Apache-2.0
"""Groups, which are what devices name as theirs, and named filters, which are rows of their own."""

from collections.abc import Collection
from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from server_stub.domain.filters import Term, read_terms
from server_stub.errors import Conflict
from server_stub.storage.page import Page, rows_of
from server_stub.storage.revisions import Topic, touch
from server_stub.storage.schema import devices, filters
from server_stub.storage.search import check_patterns


@dataclass(frozen=True, slots=True)
class NamedFilter:
    id: str
    name: str
    terms: tuple[Term, ...]


def listed(connection: Connection, status: str | None = None) -> list[tuple[str, int]]:
    """The groups by name, and how many devices are in each."""
    query = select(devices.c.group, func.count().label("number")).where(devices.c.group.is_not(None))
    if status is not None:
        query = query.where(devices.c.status == status)
    rows = connection.execute(query.group_by(devices.c.group).order_by(devices.c.group))
    return [(row.group, row.number) for row in rows]


def members(connection: Connection, group: str, page: Page) -> tuple[list[str], int]:
    query = select(devices.c.id).where(devices.c.group == group).order_by(devices.c.order)
    rows, total = rows_of(connection, query, page)
    return [row.id for row in rows], total


def assign(connection: Connection, wanted: Collection[str], group: str | None, *, only: str | None = None) -> int:
    """Put devices into a group or out of any; with `only`, those that are in that group now. How many changed."""
    statement = update(devices).where(devices.c.id.in_(wanted))
    if only is not None:
        statement = statement.where(devices.c.group == only)
    if group is not None:
        statement = statement.where(devices.c.group.is_distinct_from(group))
    touch(connection, Topic.DEVICES, Topic.WORK)
    return connection.execute(statement.values(group=group)).rowcount


def known(connection: Connection, wanted: Collection[str]) -> int:
    """How many of these devices there are."""
    query = select(func.count()).select_from(devices).where(devices.c.id.in_(wanted))
    return int(connection.execute(query).scalar_one())


def touch_members(connection: Connection) -> None:
    """Say that a device may fit other filters now."""
    touch(connection, Topic.DEVICES, Topic.WORK)


def dissolve(connection: Connection, group: str) -> int:
    touch(connection, Topic.DEVICES, Topic.WORK)
    return connection.execute(update(devices).where(devices.c.group == group).values(group=None)).rowcount


def add_filter(connection: Connection, one: NamedFilter) -> None:
    check_patterns(connection, one.terms)
    row = {"id": one.id, "name": one.name, "terms": [term.written() for term in one.terms]}
    try:
        with connection.begin_nested():
            connection.execute(insert(filters).values(row))
    except IntegrityError:
        raise Conflict(f"There is already a filter {one.name!r}: choose another name.") from None


def filter_by_id(connection: Connection, wanted: str) -> NamedFilter | None:
    row = connection.execute(select(filters).where(filters.c.id == wanted)).one_or_none()
    return None if row is None else NamedFilter(row.id, row.name, read_terms(row.terms))


def filters_listed(connection: Connection, page: Page) -> tuple[list[NamedFilter], int]:
    rows, total = rows_of(connection, select(filters).order_by(filters.c.name), page)
    return [NamedFilter(row.id, row.name, read_terms(row.terms)) for row in rows], total


def remove_filter(connection: Connection, wanted: str) -> bool:
    return connection.execute(delete(filters).where(filters.c.id == wanted)).rowcount > 0
