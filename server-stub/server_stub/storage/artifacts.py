# SPDX-License-Identifier: Apache-2.0
"""Rows of artifacts. The files themselves lie in blobs."""

from collections.abc import Collection
from dataclasses import asdict, dataclass
from typing import Any

from sqlalchemy import Connection, Row, bindparam, delete, exists, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from server_stub.domain.artifacts import Artifact, Facts, PayloadFacts, read_signature
from server_stub.errors import Unprocessable
from server_stub.storage.page import Page, rows_of
from server_stub.storage.revisions import Topic, touch
from server_stub.storage.schema import artifact_types, artifacts


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which artifacts of all, and in which order."""

    name: str | None = None
    prefix: str | None = None
    description: str | None = None
    device_type: str | None = None
    by_name: bool = False
    descending: bool = False


def add(connection: Connection, artifact: Artifact) -> None:
    facts = artifact.facts
    connection.execute(
        insert(artifacts).values(
            id=artifact.id,
            name=facts.name,
            description=artifact.description,
            size=artifact.size,
            facts=asdict(facts),
            modified=artifact.modified,
        )
    )
    types = [
        {"artifact_id": artifact.id, "device_type": one, "name": facts.name, "depends": facts.depends_key}
        for one in dict.fromkeys(facts.device_types)
    ]
    try:
        with connection.begin_nested():
            connection.execute(insert(artifact_types), types)
    except IntegrityError:
        raise Unprocessable(
            f"An artifact {facts.name!r} for the same device type is already here: give this one another name."
        ) from None
    touch(connection, Topic.ARTIFACTS, Topic.WORK)


def by_id(connection: Connection, artifact: str) -> Artifact | None:
    row = connection.execute(_BY_ID, {"artifact": artifact}).one_or_none()
    return None if row is None else _artifact(row)


def size_of(connection: Connection, artifact: str) -> int | None:
    return connection.execute(_SIZE, {"artifact": artifact}).scalar_one_or_none()


def by_name(connection: Connection, name: str) -> list[Artifact]:
    return by_names(connection, [name])[name]


def ids_by_name(connection: Connection, names: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in names}
    for row in connection.execute(select(artifacts.c.id, artifacts.c.name).where(artifacts.c.name.in_(names))):
        found[row.name].append(row.id)
    return found


def listed(connection: Connection, wanted: Wanted, page: Page) -> tuple[list[Artifact], int]:
    query = select(artifacts)
    if wanted.name is not None:
        query = query.where(artifacts.c.name == wanted.name)
    if wanted.prefix is not None:
        query = query.where(artifacts.c.name.startswith(wanted.prefix, autoescape=True))
    if wanted.description is not None:
        query = query.where(artifacts.c.description.contains(wanted.description, autoescape=True))
    if wanted.device_type is not None:
        fits = (artifact_types.c.artifact_id == artifacts.c.id) & (artifact_types.c.device_type == wanted.device_type)
        query = query.where(exists(select(artifact_types.c.artifact_id).where(fits)))
    column = artifacts.c.name if wanted.by_name else artifacts.c.modified
    query = query.order_by(column.desc() if wanted.descending else column, artifacts.c.id)
    rows, total = rows_of(connection, query, page)
    return [_artifact(row) for row in rows], total


def names_listed(connection: Connection, prefix: str | None, page: Page) -> tuple[list[str], int]:
    """The names of all artifacts, each once: those are the releases."""
    query = select(artifacts.c.name).distinct().order_by(artifacts.c.name)
    if prefix is not None:
        query = query.where(artifacts.c.name.startswith(prefix, autoescape=True))
    rows, total = rows_of(connection, query, page)
    return [row.name for row in rows], total


def latest_names(connection: Connection, most: int) -> list[str]:
    """The names of artifacts, that of the newest first."""
    query = select(artifacts.c.name).group_by(artifacts.c.name)
    query = query.order_by(func.max(artifacts.c.modified).desc(), artifacts.c.name)
    return list(connection.execute(query.limit(most)).scalars())


def by_names(connection: Connection, names: Collection[str]) -> dict[str, list[Artifact]]:
    found: dict[str, list[Artifact]] = {name: [] for name in names}
    for row in connection.execute(_BY_NAMES, {"names": list(names)}):
        found[row.name].append(_artifact(row))
    return found


def update_types(connection: Connection) -> list[str]:
    """The payload types of all artifacts."""
    rows = connection.execute(select(artifacts.c.facts))
    return sorted({row.facts["payload_type"] for row in rows if row.facts["payload_type"]})


def describe(connection: Connection, artifact: str, description: str) -> bool:
    touch(connection, Topic.ARTIFACTS)
    statement = update(artifacts).where(artifacts.c.id == artifact).values(description=description)
    return connection.execute(statement).rowcount > 0


def stored(connection: Connection) -> int:
    """Bytes of all artifacts."""
    return int(connection.execute(select(func.coalesce(func.sum(artifacts.c.size), 0))).scalar_one())


def all_ids(connection: Connection) -> set[str]:
    return set(connection.execute(select(artifacts.c.id)).scalars())


def remove(connection: Connection, artifact: str) -> None:
    connection.execute(delete(artifacts).where(artifacts.c.id == artifact))
    touch(connection, Topic.ARTIFACTS, Topic.WORK)


# What a device's poll and download need, put together once.
_BY_ID = select(artifacts).where(artifacts.c.id == bindparam("artifact"))
_SIZE = select(artifacts.c.size).where(artifacts.c.id == bindparam("artifact"))
_BY_NAMES = (
    select(artifacts)
    .where(artifacts.c.name.in_(bindparam("names", expanding=True)))
    .order_by(artifacts.c.modified, artifacts.c.id)
)


def _artifact(row: Row[Any]) -> Artifact:
    told = row.facts
    facts = Facts(
        name=told["name"],
        device_types=tuple(told["device_types"]),
        payload_type=told["payload_type"],
        provides=told["provides"],
        depends={key: tuple(values) for key, values in told["depends"].items()},
        clears=None if told["clears"] is None else tuple(told["clears"]),
        signature=read_signature(told),
        files=tuple(PayloadFacts(**file) for file in told["files"]),
    )
    return Artifact(row.id, facts, row.description, row.size, row.modified)
