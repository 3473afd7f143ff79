# SPDX-License-Identifier: Apache-2.0
"""Rows of devices and their auth sets."""

import uuid
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, delete, func, insert, select, update

from server_stub.domain.devices import NO_AUTH, AuthSet, AuthStatus, Device, device_status
from server_stub.domain.filters import Order, Term
from server_stub.domain.inventory import Scope, of_identity
from server_stub.storage import attributes
from server_stub.storage.page import Page, rows_of
from server_stub.storage.revisions import Topic, touch
from server_stub.storage.schema import auth_sets, devices
from server_stub.storage.search import check_patterns, matching, mentioned_beyond, mentioning, ordered


def create(connection: Connection, identity: str, now: str) -> Device:
    device = Device(str(uuid.uuid4()), identity, NO_AUTH, now, now, None, None, None)
    connection.execute(
        insert(devices).values(id=device.id, identity=identity, status=NO_AUTH, created_ts=now, updated_ts=now)
    )
    attributes.save(connection, device.id, of_identity(identity), Scope.IDENTITY, replace=True)
    touch(connection, Topic.DEVICES)
    return device


def by_identity(connection: Connection, identity: str) -> Device | None:
    row = connection.execute(select(devices).where(devices.c.identity == identity)).one_or_none()
    return None if row is None else _device(row)


def by_id(connection: Connection, device: str) -> Device | None:
    row = connection.execute(_BY_ID, {"which": device}).one_or_none()
    return None if row is None else _device(row)


def by_ids(connection: Connection, wanted: Collection[str]) -> dict[str, Device]:
    rows = connection.execute(select(devices).where(devices.c.id.in_(wanted)))
    return {row.id: _device(row) for row in rows}


def listed(connection: Connection, page: Page, *, status: str | None = None) -> tuple[list[Device], int]:
    rows, total = rows_of(connection, _with_status(select(devices), status).order_by(devices.c.order), page)
    return [_device(row) for row in rows], total


def found(
    connection: Connection, terms: Sequence[Term], orders: Sequence[Order], page: Page, text: str = ""
) -> tuple[list[Device], int]:
    """A page of the devices that fit all terms, and how many do; with a text, of those that have it somewhere."""
    check_patterns(connection, terms)
    query = mentioning(matching(select(devices), terms), text)
    rows, total = rows_of(connection, ordered(query, orders), page)
    return [_device(row) for row in rows], total


def found_in_part(connection: Connection, text: str) -> bool:
    """Whether so many values have the text that `found` looks only at some of them."""
    return bool(text) and connection.execute(mentioned_beyond(text)).first() is not None


def waiting(connection: Connection, page: Page) -> tuple[list[Device], int]:
    """A page of the devices with a key that waits for the operator, the oldest first, and how many there are."""
    waits = select(auth_sets.c.device_id).where(auth_sets.c.status == AuthStatus.PENDING)
    query = select(devices).where(devices.c.id.in_(waits)).order_by(devices.c.order)
    rows, total = rows_of(connection, query, page)
    return [_device(row) for row in rows], total


def count_waiting(connection: Connection, most: int) -> int:
    """How many keys wait for the operator; counted up to `most`."""
    waits = select(auth_sets.c.order).where(auth_sets.c.status == AuthStatus.PENDING).limit(most)
    return int(connection.execute(select(func.count()).select_from(waits.subquery())).scalar_one())


def among(
    connection: Connection, ids: Collection[str] | None, statuses: Collection[str] | None, page: Page
) -> tuple[list[Device], int]:
    """A page of the devices with these ids and statuses, None: with any."""
    query = select(devices)
    query = query if ids is None else query.where(devices.c.id.in_(ids))
    query = query if statuses is None else query.where(devices.c.status.in_(statuses))
    rows, total = rows_of(connection, query.order_by(devices.c.order), page)
    return [_device(row) for row in rows], total


def fits(connection: Connection, device: str, terms: Sequence[Term]) -> bool:
    """Whether one device fits all terms."""
    query = matching(select(devices.c.id).where(devices.c.id == device), terms)
    return connection.execute(query).first() is not None


def count(connection: Connection, status: str | None = None, terms: Sequence[Term] = ()) -> int:
    query = matching(_with_status(select(func.count()).select_from(devices), status), terms)
    return int(connection.execute(query).scalar_one())


def count_members(connection: Connection, group: str | None) -> int:
    """How many devices are accepted, in one group or in all."""
    query = select(func.count()).select_from(devices).where(devices.c.status == AuthStatus.ACCEPTED)
    return int(connection.execute(query if group is None else query.where(devices.c.group == group)).scalar_one())


def pending(connection: Connection, wanted: Sequence[str] | None, most: int) -> dict[str, list[AuthSet]]:
    """The auth sets of at most so many devices with a key that waits, of these devices or of all."""
    query = select(auth_sets.c.device_id).where(auth_sets.c.status == AuthStatus.PENDING).distinct().limit(most)
    if wanted is not None:
        query = query.where(auth_sets.c.device_id.in_(wanted))
    sets: dict[str, list[AuthSet]] = {device: [] for device in connection.execute(query).scalars()}
    for one in auth_sets_of(connection, list(sets)):
        sets[one.device_id].append(one)
    return sets


def counts(connection: Connection) -> dict[str, int]:
    """How many devices have each status."""
    query = select(devices.c.status, func.count().label("number")).group_by(devices.c.status)
    return {row.status: row.number for row in connection.execute(query)}


def remove(connection: Connection, device: str) -> None:
    connection.execute(delete(devices).where(devices.c.id == device))
    touch(connection, Topic.DEVICES, Topic.ACCESS)


def note_check_ins(connection: Connection, seen: Mapping[str, str]) -> None:
    """When devices last asked; a moment that is not later than what is known is left out."""
    which = update(devices).where(devices.c.id == bindparam("device"))
    which = which.where((devices.c.check_in_ts.is_(None)) | (devices.c.check_in_ts < bindparam("moment")))
    rows = [{"device": device, "moment": moment} for device, moment in seen.items()]
    connection.execute(which.values(check_in_ts=bindparam("moment")), rows)


def note_inventory(connection: Connection, device: str, now: str) -> None:
    connection.execute(_NOTE_INVENTORY, {"which": device, "moment": now})
    touch(connection, Topic.DEVICES)


def auth_sets_of(connection: Connection, wanted: Collection[str]) -> list[AuthSet]:
    query = select(auth_sets).where(auth_sets.c.device_id.in_(wanted)).order_by(auth_sets.c.order)
    return [
        AuthSet(row.id, row.device_id, row.pubkey, AuthStatus(row.status), row.ts) for row in connection.execute(query)
    ]


def auth_set_by_id(connection: Connection, wanted: str) -> AuthSet | None:
    row = connection.execute(select(auth_sets).where(auth_sets.c.id == wanted)).one_or_none()
    return None if row is None else AuthSet(row.id, row.device_id, row.pubkey, AuthStatus(row.status), row.ts)


def is_accepted(connection: Connection, device: str, auth_set: str) -> bool:
    told = {"auth_set": auth_set, "device": device}
    return connection.execute(_STATUS, told).scalar_one_or_none() == AuthStatus.ACCEPTED


# Asked for every token that is not remembered, and for every inventory, so put together once.
_BY_ID = select(devices).where(devices.c.id == bindparam("which"))
_NOTE_INVENTORY = update(devices).where(devices.c.id == bindparam("which")).values(inventory_ts=bindparam("moment"))
_STATUS = select(auth_sets.c.status).where(
    auth_sets.c.id == bindparam("auth_set"), auth_sets.c.device_id == bindparam("device")
)


def save_auth_sets(connection: Connection, device: str, changed: Iterable[AuthSet], now: str) -> None:
    """Keep new and changed auth sets of a device, and with them its status."""
    known = {one.id: one.status for one in auth_sets_of(connection, [device])}
    for one in changed:
        if one.id in known:
            connection.execute(update(auth_sets).where(auth_sets.c.id == one.id).values(status=one.status))
        else:
            row = {"id": one.id, "device_id": device, "pubkey": one.pubkey, "status": one.status, "ts": one.ts}
            connection.execute(insert(auth_sets).values(row))
    _settle_status(connection, device, now)
    touch(connection, Topic.DEVICES)
    if AuthStatus.ACCEPTED in known.values():
        touch(connection, Topic.ACCESS)


def remove_auth_set(connection: Connection, device: str, auth_set: str, now: str) -> None:
    connection.execute(delete(auth_sets).where(auth_sets.c.id == auth_set))
    _settle_status(connection, device, now)
    touch(connection, Topic.DEVICES, Topic.ACCESS)


def _settle_status(connection: Connection, device: str, now: str) -> None:
    status = device_status(one.status for one in auth_sets_of(connection, [device]))
    connection.execute(update(devices).where(devices.c.id == device).values(status=status, updated_ts=now))


def _with_status(query: Select[Any], status: str | None) -> Select[Any]:
    return query if status is None else query.where(devices.c.status == status)


def _device(row: Row[Any]) -> Device:
    return Device(
        row.id,
        row.identity,
        row.status,
        row.created_ts,
        row.updated_ts,
        row.check_in_ts,
        row.inventory_ts,
        row.group,
    )
