# SPDX-License-Identifier: Apache-2.0
"""Rows of entries, a device's part in a deployment; of every status in the order it came; and the tallies of both."""

from collections.abc import Collection, Iterable, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, String, bindparam, func, insert, literal, select, update

from server_stub.domain.deployments import CLOSED, FINISHED, Asked, Author, Deployment, Entry, Status
from server_stub.storage.page import Page, rows_of
from server_stub.storage.revisions import Topic, touch
from server_stub.storage.schema import deployments, devices, entries, history, tallies

# A device that repeats itself for ever must not fill the disk.
MOST_RECORDED = 2000


def add(connection: Connection, deployment: Deployment, wanted: Collection[str]) -> None:
    """Give devices a part in it, pending."""
    rows = [
        {"deployment_id": deployment.id, "device_id": device, "status": Status.PENDING, "created": deployment.created}
        for device in wanted
    ]
    if rows:
        connection.execute(insert(entries), rows)
    _tally(connection, deployment.id, Status.PENDING, len(rows))
    touch(connection, Topic.WORK)


def join(connection: Connection, deployment: Deployment, device: str, now: str) -> None:
    """Give a device that comes by itself its part; nobody else gets anything to do by it."""
    row = {"deployment_id": deployment.id, "device_id": device, "status": Status.PENDING, "created": now}
    connection.execute(insert(entries).values(row))
    _tally(connection, deployment.id, Status.PENDING, 1)
    touch(connection, Topic.DEPLOYMENTS)


def add_accepted(connection: Connection, deployment: Deployment, group: str | None) -> int:
    """Give all accepted devices (of a group) a part in it, in one statement; how many they are."""
    chosen = select(literal(deployment.id), devices.c.id, literal(str(Status.PENDING)), literal(deployment.created))
    chosen = chosen.where(devices.c.status == "accepted").order_by(devices.c.order)
    if group is not None:
        chosen = chosen.where(devices.c.group == group)
    names = ["deployment_id", "device_id", "status", "created"]
    statement = insert(entries).from_select(names, chosen).execution_options(preserve_rowcount=True)
    number = connection.execute(statement).rowcount
    _tally(connection, deployment.id, Status.PENDING, number)
    touch(connection, Topic.WORK)
    return number


def by_key(connection: Connection, deployment: str, device: str) -> Entry | None:
    row = connection.execute(_BY_KEY, {"deployment": deployment, "device": device}).one_or_none()
    return None if row is None else _entry(row)


def unfinished(connection: Connection, device: str) -> list[Entry]:
    return [_entry(row) for row in connection.execute(_UNFINISHED, {"device": device})]


def last_finished(connection: Connection, device: str) -> int:
    """The order of the latest deployment that has ended for the device by itself; -1 if none has.

    One that was closed over the device's head says nothing of what it runs; nor does one that the operator has had
    cleared from its history.
    """
    found = connection.execute(_LAST_FINISHED, {"device": device}).scalar_one_or_none()
    return -1 if found is None else int(found)


def is_part(connection: Connection, deployment: str, device: str) -> bool:
    return connection.execute(_IS_PART, {"deployment": deployment, "device": device}).first() is not None


def devices_of(connection: Connection, deployment: str) -> set[str]:
    query = select(entries.c.device_id).where(entries.c.deployment_id == deployment)
    return set(connection.execute(query).scalars())


def listed(
    connection: Connection, deployment: str, statuses: Collection[Status], page: Page
) -> tuple[list[Entry], int]:
    """The parts of a deployment, of these statuses or of any if none is named."""
    query = _entries().where(entries.c.deployment_id == deployment)
    if statuses:
        query = query.where(entries.c.status.in_(statuses))
    rows, total = rows_of(connection, query.order_by(entries.c.device_id), page)
    return [_entry(row) for row in rows], total


def of_device(connection: Connection, device: str, statuses: Collection[Status], page: Page) -> tuple[list[Entry], int]:
    """The parts of a device, the newest deployment first, but for those that were cleared."""
    query = _entries().where(entries.c.device_id == device, entries.c.cleared.is_(False))
    if statuses:
        query = query.where(entries.c.status.in_(statuses))
    rows, total = rows_of(connection, query.order_by(deployments.c.order.desc()), page)
    return [_entry(row) for row in rows], total


def clear(connection: Connection, device: str) -> None:
    """Take what has ended for the device out of its history; the deployments keep it."""
    mine = (entries.c.device_id == device) & entries.c.status.in_(FINISHED)
    connection.execute(update(entries).where(mine).values(cleared=True))
    touch(connection, Topic.WORK)


def uses_artifact(connection: Connection, artifact: str) -> bool:
    """Whether an unfinished part has been given this artifact."""
    mine = (entries.c.artifact_id == artifact) & entries.c.status.not_in(FINISHED)
    return connection.execute(select(entries.c.device_id).where(mine).limit(1)).first() is not None


def save(connection: Connection, before: Entry, after: Entry) -> None:
    """Keep an entry as it is now; `before` is how it was."""
    values = {
        "deployment": after.deployment_id,
        "device": after.device_id,
        "status": after.status,
        "substate": after.substate,
        "started": after.started,
        "finished": after.finished,
        "asked_device_type": after.asked.device_type if after.asked else None,
        "asked_artifact_name": after.asked.artifact_name if after.asked else None,
        "artifact_id": after.artifact_id,
        "attempts": after.attempts,
        "counted": after.counted,
        "phase": after.phase,
    }
    connection.execute(_SAVE, values)
    if before.status is not after.status:
        _tally(connection, after.deployment_id, before.status, -1)
        _tally(connection, after.deployment_id, after.status, 1)
    touch(connection, Topic.DEPLOYMENTS)


def record(connection: Connection, one: Entry, status: Status, substate: str | None, now: str, author: Author) -> None:
    """Write down a status as one that came, also if it came before; beyond MOST_RECORDED of one part no more."""
    row = {
        "deployment": one.deployment_id,
        "device": one.device_id,
        "which": status,
        "sub": substate,
        "moment": now,
        "by": author,
    }
    connection.execute(_RECORD, row)


def history_of(connection: Connection, keys: Iterable[Entry]) -> dict[tuple[str, str], list[Row[Any]]]:
    """Every status of these parts in the order in which it came, by deployment and device."""
    found: dict[tuple[str, str], list[Row[Any]]] = {(one.deployment_id, one.device_id): [] for one in keys}
    query = (
        select(history)
        .where(
            history.c.deployment_id.in_({deployment for deployment, _ in found}),
            history.c.device_id.in_({device for _, device in found}),
        )
        .order_by(history.c.order)
    )
    for row in connection.execute(query):
        if (key := (row.deployment_id, row.device_id)) in found:
            found[key].append(row)
    return found


def counts(connection: Connection, wanted: Collection[str]) -> dict[str, dict[Status, int]]:
    """How many devices are in each status, by deployment."""
    found: dict[str, dict[Status, int]] = {deployment: {} for deployment in wanted}
    for row in connection.execute(_COUNTS, {"wanted": list(wanted)}):
        found[row.deployment_id][Status(row.status)] = row.number
    return found


def open_counts(connection: Connection) -> dict[str, int]:
    """How many devices of all deployments that are not finished are in each status."""
    query = (
        select(tallies.c.status, func.sum(tallies.c.number).label("number"))
        .join(deployments)
        .where(deployments.c.finished.is_(None))
        .group_by(tallies.c.status)
    )
    return {row.status: int(row.number) for row in connection.execute(query)}


def close_all(connection: Connection, deployment: str, status: Status, now: str, author: Author) -> int:
    """Give all unfinished parts of a deployment a last status, in a few statements; how many they were."""
    open_ones = (entries.c.deployment_id == deployment) & entries.c.status.not_in(FINISHED)
    told = select(
        entries.c.deployment_id, entries.c.device_id, literal(str(status)), literal(now), literal(str(author))
    )
    names = ["deployment_id", "device_id", "status", "time", "author"]
    connection.execute(insert(history).from_select(names, told.where(open_ones).order_by(entries.c.device_id)))
    values = {
        "status": str(status),
        "substate": None,
        "started": func.coalesce(entries.c.started, now),
        "finished": now,
    }
    number = connection.execute(update(entries).where(open_ones).values(values)).rowcount
    left = (tallies.c.deployment_id == deployment) & tallies.c.status.not_in(FINISHED)
    connection.execute(update(tallies).where(left).values(number=0))
    _tally(connection, deployment, status, number)
    touch(connection, Topic.DEPLOYMENTS, Topic.WORK)
    return number


def save_log(connection: Connection, one: Entry, log: str) -> None:
    mine = (entries.c.deployment_id == one.deployment_id) & (entries.c.device_id == one.device_id)
    connection.execute(update(entries).where(mine).values(log=log))
    touch(connection, Topic.DEPLOYMENTS)


def log_of(connection: Connection, deployment: str, device: str) -> str | None:
    mine = (entries.c.deployment_id == deployment) & (entries.c.device_id == device)
    return connection.execute(select(entries.c.log).where(mine)).scalar_one_or_none()


def _tally(connection: Connection, deployment: str, status: Status, more: int) -> None:
    told = {"deployment": deployment, "which": status, "more": more}
    if connection.execute(_TALLY, told).rowcount == 0:
        connection.execute(insert(tallies).values(deployment_id=deployment, status=status, number=more))


_COLUMNS: Sequence[Any] = (
    *(column for column in entries.c if column.name != "log"),
    entries.c.log.is_not(None).label("has_log"),
    deployments.c.order,
    deployments.c.artifact_name,
    deployments.c.force,
    deployments.c.retries,
)


def _entries() -> Select[Any]:
    return select(*_COLUMNS).join(deployments)


# What every poll and every report needs, put together once.
_THIS_ONE = (entries.c.deployment_id == bindparam("deployment")) & (entries.c.device_id == bindparam("device"))
_BY_KEY = _entries().where(_THIS_ONE)
_UNFINISHED = _entries().where(entries.c.device_id == bindparam("device"), entries.c.status.not_in(sorted(FINISHED)))
_LAST_FINISHED = (
    select(func.max(deployments.c.order))
    .join(entries)
    .where(
        entries.c.device_id == bindparam("device"),
        entries.c.status.in_(sorted(FINISHED - CLOSED)),
        entries.c.cleared.is_(False),
    )
)
_SAVED = (
    *("status", "substate", "started", "finished", "asked_device_type", "asked_artifact_name"),
    *("artifact_id", "attempts", "counted", "phase"),
)
_SAVE = update(entries).where(_THIS_ONE).values({name: bindparam(name) for name in _SAVED})
_OF_PART = (history.c.deployment_id == bindparam("deployment")) & (history.c.device_id == bindparam("device"))
_RECORDED = select(func.count()).select_from(history).where(_OF_PART).scalar_subquery()
_RECORD = insert(history).from_select(
    ["deployment_id", "device_id", "status", "substate", "time", "author"],
    select(*(bindparam(name, type_=String) for name in ("deployment", "device", "which", "sub", "moment", "by"))).where(
        _RECORDED < MOST_RECORDED
    ),
)
_IS_PART = select(entries.c.device_id).where(_THIS_ONE)
_COUNTS = select(tallies).where(tallies.c.deployment_id.in_(bindparam("wanted", expanding=True)), tallies.c.number > 0)
_TALLY = (
    update(tallies)
    .where(tallies.c.deployment_id == bindparam("deployment"), tallies.c.status == bindparam("which"))
    .values(number=tallies.c.number + bindparam("more"))
)


def _entry(row: Row[Any]) -> Entry:
    asked = None if row.asked_device_type is None else Asked(row.asked_device_type, row.asked_artifact_name)
    return Entry(
        deployment_id=row.deployment_id,
        order=row.order,
        device_id=row.device_id,
        artifact_name=row.artifact_name,
        force=row.force,
        retries=row.retries,
        status=Status(row.status),
        substate=row.substate,
        created=row.created,
        started=row.started,
        finished=row.finished,
        asked=asked,
        artifact_id=row.artifact_id,
        has_log=bool(row.has_log),
        attempts=row.attempts,
        counted=row.counted,
        phase=row.phase,
    )
