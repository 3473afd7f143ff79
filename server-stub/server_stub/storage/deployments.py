# SPDX-License-Identifier: Apache-2.0
"""Rows of deployments, of each device's part in them, and of every status in the order in which it came."""

from collections.abc import Collection, Sequence
from typing import Any

from sqlalchemy import Connection, Row, Select, func, insert, select, update

from server_stub.domain.deployments import FINISHED, Asked, Author, Deployment, Entry, Status
from server_stub.storage.page import Page, rows_of
from server_stub.storage.schema import deployments, entries, history


def add(connection: Connection, deployment: Deployment, devices: Collection[str]) -> None:
    connection.execute(
        insert(deployments).values(
            id=deployment.id,
            name=deployment.name,
            artifact_name=deployment.artifact_name,
            force=deployment.force,
            created=deployment.created,
        )
    )
    rows = [
        {
            "deployment_id": deployment.id,
            "device_id": device,
            "status": Status.PENDING,
            "created": deployment.created,
        }
        for device in devices
    ]
    connection.execute(insert(entries), rows)


def by_id(connection: Connection, deployment: str) -> Deployment | None:
    row = connection.execute(select(deployments).where(deployments.c.id == deployment)).one_or_none()
    return None if row is None else _deployment(row)


def listed(connection: Connection, page: Page) -> tuple[list[Deployment], int]:
    """The newest first."""
    rows, total = rows_of(connection, select(deployments).order_by(deployments.c.order.desc()), page)
    return [_deployment(row) for row in rows], total


def unfinished_alike(connection: Connection, name: str, artifact_name: str) -> dict[str, set[str]]:
    """The devices of each unfinished deployment with the same name and artifact."""
    query = (
        select(entries.c.deployment_id, entries.c.device_id)
        .join(deployments)
        .where(
            deployments.c.finished.is_(None),
            deployments.c.name == name,
            deployments.c.artifact_name == artifact_name,
        )
    )
    found: dict[str, set[str]] = {}
    for row in connection.execute(query):
        found.setdefault(row.deployment_id, set()).add(row.device_id)
    return found


def uses_artifact(connection: Connection, artifact: str, name: str) -> bool:
    """Whether an unfinished deployment gives out this artifact, or may come to choose it."""
    query = (
        select(entries.c.device_id)
        .join(deployments)
        .where(
            entries.c.status.not_in(FINISHED),
            (entries.c.artifact_id == artifact) | (deployments.c.artifact_name == name),
        )
    )
    return connection.execute(query.limit(1)).first() is not None


def counts(connection: Connection, wanted: Collection[str]) -> dict[str, dict[Status, int]]:
    found: dict[str, dict[Status, int]] = {deployment: {} for deployment in wanted}
    query = (
        select(entries.c.deployment_id, entries.c.status, func.count().label("number"))
        .where(entries.c.deployment_id.in_(wanted))
        .group_by(entries.c.deployment_id, entries.c.status)
    )
    for row in connection.execute(query):
        found[row.deployment_id][Status(row.status)] = row.number
    return found


def entries_of_device(connection: Connection, device: str) -> list[Entry]:
    return [_entry(row) for row in connection.execute(_entries().where(entries.c.device_id == device))]


def entry(connection: Connection, deployment: str, device: str) -> Entry | None:
    row = connection.execute(
        _entries().where(entries.c.deployment_id == deployment, entries.c.device_id == device)
    ).one_or_none()
    return None if row is None else _entry(row)


def entries_listed(connection: Connection, deployment: str, page: Page) -> tuple[list[Entry], int]:
    query = _entries().where(entries.c.deployment_id == deployment).order_by(entries.c.device_id)
    rows, total = rows_of(connection, query, page)
    return [_entry(row) for row in rows], total


def unfinished_entries(connection: Connection, *, deployment: str = "", device: str = "") -> list[Entry]:
    query = _entries().where(entries.c.status.not_in(FINISHED))
    query = query.where(entries.c.deployment_id == deployment) if deployment else query
    query = query.where(entries.c.device_id == device) if device else query
    return [_entry(row) for row in connection.execute(query)]


def save(connection: Connection, one: Entry) -> None:
    connection.execute(
        _where_is(one).values(
            status=one.status,
            substate=one.substate,
            started=one.started,
            finished=one.finished,
            asked_device_type=one.asked.device_type if one.asked else None,
            asked_artifact_name=one.asked.artifact_name if one.asked else None,
            artifact_id=one.artifact_id,
        )
    )


def record(connection: Connection, one: Entry, now: str, author: Author) -> None:
    """Write down the entry's status as one that came, also if it came before, and what it means for the whole."""
    connection.execute(
        insert(history).values(
            deployment_id=one.deployment_id,
            device_id=one.device_id,
            status=one.status,
            substate=one.substate,
            time=now,
            author=author,
        )
    )
    waiting = select(entries.c.device_id).where(
        entries.c.deployment_id == one.deployment_id, entries.c.status.not_in(FINISHED)
    )
    is_waiting = connection.execute(waiting.limit(1)).first() is not None
    finished = None if is_waiting else func.coalesce(deployments.c.finished, now)
    connection.execute(update(deployments).where(deployments.c.id == one.deployment_id).values(finished=finished))


def history_of(connection: Connection, deployment: str, devices: Collection[str]) -> dict[str, list[Row[Any]]]:
    found: dict[str, list[Row[Any]]] = {device: [] for device in devices}
    query = (
        select(history)
        .where(history.c.deployment_id == deployment, history.c.device_id.in_(devices))
        .order_by(history.c.order)
    )
    for row in connection.execute(query):
        found[row.device_id].append(row)
    return found


def save_log(connection: Connection, one: Entry, log: str) -> None:
    connection.execute(_where_is(one).values(log=log))


def log_of(connection: Connection, deployment: str, device: str) -> str | None:
    query = select(entries.c.log).where(entries.c.deployment_id == deployment, entries.c.device_id == device)
    return connection.execute(query).scalar_one_or_none()


def _where_is(one: Entry) -> Any:
    return update(entries).where(entries.c.deployment_id == one.deployment_id, entries.c.device_id == one.device_id)


_ENTRY_COLUMNS: Sequence[Any] = (
    *(column for column in entries.c if column.name != "log"),
    entries.c.log.is_not(None).label("has_log"),
    deployments.c.order,
    deployments.c.artifact_name,
    deployments.c.force,
)


def _entries() -> Select[Any]:
    return select(*_ENTRY_COLUMNS).join(deployments)


def _entry(row: Row[Any]) -> Entry:
    asked = None if row.asked_device_type is None else Asked(row.asked_device_type, row.asked_artifact_name)
    return Entry(
        deployment_id=row.deployment_id,
        order=row.order,
        device_id=row.device_id,
        artifact_name=row.artifact_name,
        force=row.force,
        status=Status(row.status),
        substate=row.substate,
        created=row.created,
        started=row.started,
        finished=row.finished,
        asked=asked,
        artifact_id=row.artifact_id,
        has_log=bool(row.has_log),
    )


def _deployment(row: Row[Any]) -> Deployment:
    return Deployment(row.id, row.name, row.artifact_name, row.force, row.created, row.finished)
