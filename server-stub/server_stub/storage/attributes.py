# SPDX-License-Identifier: Apache-2.0
"""Rows of attributes: one for each plain value, so that the database can compare them."""

from collections.abc import Collection, Sequence
from itertools import groupby
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, func, insert, select

from server_stub.domain.inventory import Attribute, Scope, Value
from server_stub.storage.schema import attributes, devices

# A list without members keeps its place by a row at this position.
_EMPTY = -1
# What every inventory and every poll that begins something needs, put together once.
_MINE = (attributes.c.device_id == bindparam("device")) & (attributes.c.scope == bindparam("which"))
_DELETE_ALL = delete(attributes).where(_MINE)
_DELETE = _DELETE_ALL.where(attributes.c.name.in_(bindparam("names", expanding=True)))
_INSERT = insert(attributes)
_NUMBERS = select(func.count(attributes.c.name.distinct()), func.count()).where(_MINE)
_TEXTS = select(attributes.c.name, attributes.c.text).where(_MINE, attributes.c.listed.is_(False))


def save(connection: Connection, device: str, changed: Sequence[Attribute], scope: Scope, *, replace: bool) -> None:
    """Keep attributes of one scope; `replace` removes all others of it."""
    told: dict[str, Any] = {"device": device, "which": scope}
    if replace:
        connection.execute(_DELETE_ALL, told)
    else:
        connection.execute(_DELETE, {**told, "names": [one.name for one in changed]})
    rows = [row for one in changed for row in _rows(device, one)]
    if rows:
        connection.execute(_INSERT, rows)


def numbers(connection: Connection, device: str, scope: Scope) -> tuple[int, int]:
    """How many attributes of one scope a device has, and how many values these have."""
    names, values = connection.execute(_NUMBERS, {"device": device, "which": scope}).one()
    return names, values


def of_devices(connection: Connection, wanted: Collection[str]) -> dict[str, list[Attribute]]:
    found: dict[str, list[Attribute]] = {device: [] for device in wanted}
    query = (
        select(attributes)
        .where(attributes.c.device_id.in_(wanted))
        .order_by(attributes.c.device_id, attributes.c.scope, attributes.c.name, attributes.c.position)
    )
    for (device, scope, name), rows in groupby(
        connection.execute(query), key=lambda row: (row.device_id, row.scope, row.name)
    ):
        found[device].append(Attribute(Scope(scope), name, _value(list(rows))))
    return found


def texts_of(connection: Connection, device: str, scope: Scope) -> dict[str, str]:
    """The attributes of one scope that are plain texts."""
    rows = connection.execute(_TEXTS, {"device": device, "which": scope})
    return {row.name: row.text for row in rows if row.text is not None}


def names(connection: Connection) -> list[tuple[Scope, str, int]]:
    """Every name there is in any scope, and how many devices have it."""
    query = (
        select(attributes.c.scope, attributes.c.name, func.count().label("number"))
        .where(attributes.c.position <= 0)
        .group_by(attributes.c.scope, attributes.c.name)
        .order_by(attributes.c.scope, attributes.c.name)
    )
    return [(Scope(row.scope), row.name, row.number) for row in connection.execute(query)]


def numbers_of_values(connection: Connection, scope: Scope, name: str, most: int) -> list[tuple[str, int]]:
    """How many accepted devices have each value of an attribute, the most frequent first."""
    query = (
        select(attributes.c.text, func.count().label("number"))
        .join(devices)
        .where(attributes.c.scope == scope, attributes.c.name == name, attributes.c.text.is_not(None))
        .where(devices.c.status == "accepted")
        .group_by(attributes.c.text)
        .order_by(func.count().desc(), attributes.c.text)
        .limit(most)
    )
    return [(row.text, row.number) for row in connection.execute(query)]


def _rows(device: str, one: Attribute) -> list[dict[str, Any]]:
    listed = isinstance(one.value, list)
    members: list[Any] = one.value if isinstance(one.value, list) else [one.value]
    placed: list[tuple[int, Any]] = list(enumerate(members)) or [(_EMPTY, None)]
    return [
        {
            "device_id": device,
            "scope": one.scope,
            "name": one.name,
            "position": position,
            "listed": listed,
            "text": value if isinstance(value, str) else None,
            "number": value if isinstance(value, int | float) else None,
        }
        for position, value in placed
    ]


def _value(rows: Sequence[Row[Any]]) -> Value:
    if rows[0].listed:
        return [row.text for row in rows if row.position != _EMPTY]
    if rows[0].number is not None:
        number = float(rows[0].number)
        return int(number) if number.is_integer() else number
    return str(rows[0].text)
