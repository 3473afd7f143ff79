# SPDX-License-Identifier: Apache-2.0
"""Rows of devices, their auth sets and what they tell about themselves."""

import uuid
from collections.abc import Collection, Iterable, Mapping
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, func, insert, select, update
from sqlalchemy.dialects.sqlite import insert as upsert

from server_stub.domain.devices import NO_AUTH, AuthSet, AuthStatus, Device, device_status
from server_stub.storage.page import Page, rows_of
from server_stub.storage.schema import attributes, auth_sets, devices


def create(connection: Connection, identity: str, now: str) -> Device:
    device = Device(str(uuid.uuid4()), identity, NO_AUTH, now, now, None)
    connection.execute(
        insert(devices).values(id=device.id, identity=identity, status=NO_AUTH, created_ts=now, updated_ts=now)
    )
    return device


def by_identity(connection: Connection, identity: str) -> Device | None:
    row = connection.execute(_devices().where(devices.c.identity == identity)).one_or_none()
    return None if row is None else _device(row)


def by_id(connection: Connection, device: str) -> Device | None:
    row = connection.execute(_devices().where(devices.c.id == device)).one_or_none()
    return None if row is None else _device(row)


def listed(connection: Connection, status: str | None, page: Page) -> tuple[list[Device], int]:
    query = _devices().order_by(devices.c.order)
    if status is not None:
        query = query.where(devices.c.status == status)
    rows, total = rows_of(connection, query, page)
    return [_device(row) for row in rows], total


def accepted(connection: Connection) -> tuple[str, ...]:
    query = select(devices.c.id).where(devices.c.status == AuthStatus.ACCEPTED).order_by(devices.c.order)
    return tuple(connection.execute(query).scalars())


def known_among(connection: Connection, wanted: Collection[str]) -> set[str]:
    return set(connection.execute(select(devices.c.id).where(devices.c.id.in_(wanted))).scalars())


def count(connection: Connection, status: str | None) -> int:
    query = select(func.count()).select_from(devices)
    if status is not None:
        query = query.where(devices.c.status == status)
    return connection.execute(query).scalar_one()


def remove(connection: Connection, device: str) -> None:
    connection.execute(delete(devices).where(devices.c.id == device))


def note_check_ins(connection: Connection, seen: Mapping[str, str]) -> None:
    for device, moment in seen.items():
        connection.execute(update(devices).where(devices.c.id == device).values(check_in_ts=moment))


def auth_sets_of(connection: Connection, wanted: Collection[str]) -> list[AuthSet]:
    query = select(auth_sets).where(auth_sets.c.device_id.in_(wanted)).order_by(auth_sets.c.order)
    return [
        AuthSet(row.id, row.device_id, row.pubkey, AuthStatus(row.status), row.ts) for row in connection.execute(query)
    ]


def is_accepted(connection: Connection, device: str, auth_set: str) -> bool:
    query = select(auth_sets.c.status).where(auth_sets.c.id == auth_set, auth_sets.c.device_id == device)
    return connection.execute(query).scalar_one_or_none() == AuthStatus.ACCEPTED


def save_auth_sets(connection: Connection, changed: Iterable[AuthSet], now: str) -> None:
    """Keep new and changed auth sets, and with them the status of their devices."""
    touched = set()
    for one in changed:
        touched.add(one.device_id)
        row = {"id": one.id, "device_id": one.device_id, "pubkey": one.pubkey, "status": one.status, "ts": one.ts}
        statement = upsert(auth_sets).values(row)
        connection.execute(statement.on_conflict_do_update(index_elements=["id"], set_={"status": one.status}))
    for device in touched:
        status = device_status(one.status for one in auth_sets_of(connection, [device]))
        connection.execute(update(devices).where(devices.c.id == device).values(status=status, updated_ts=now))


def save_attributes(
    connection: Connection, device: str, values: Mapping[str, Any], now: str, *, replace_all: bool
) -> None:
    if replace_all:
        connection.execute(delete(attributes).where(attributes.c.device_id == device))
    for name, value in values.items():
        statement = upsert(attributes).values(device_id=device, name=name, value=value)
        connection.execute(statement.on_conflict_do_update(index_elements=["device_id", "name"], set_={"value": value}))
    connection.execute(update(devices).where(devices.c.id == device).values(inventory_ts=now))


def attributes_of(connection: Connection, wanted: Collection[str]) -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = {device: {} for device in wanted}
    query = select(attributes).where(attributes.c.device_id.in_(wanted)).order_by(attributes.c.name)
    for row in connection.execute(query):
        found[row.device_id][row.name] = row.value
    return found


def inventory_times(connection: Connection, wanted: Collection[str]) -> dict[str, str | None]:
    query = select(devices.c.id, devices.c.inventory_ts).where(devices.c.id.in_(wanted))
    return {row.id: row.inventory_ts for row in connection.execute(query)}


def _devices() -> Select[Any]:
    return select(devices)


def _device(row: Row[Any]) -> Device:
    return Device(row.id, row.identity, row.status, row.created_ts, row.updated_ts, row.check_in_ts)
