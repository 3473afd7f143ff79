# SPDX-License-Identifier: Apache-2.0
"""Rows of artifacts. The files themselves lie in blobs."""

from collections.abc import Collection
from dataclasses import asdict
from typing import Any

from sqlalchemy import Connection, Row, Select, delete, insert, select
from sqlalchemy.exc import IntegrityError

from server_stub.domain.artifacts import Artifact, Facts, PayloadFacts
from server_stub.errors import Unprocessable
from server_stub.storage.page import Page, rows_of
from server_stub.storage.schema import artifact_types, artifacts


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
        connection.execute(insert(artifact_types), types)
    except IntegrityError:
        raise Unprocessable(
            f"An artifact {facts.name!r} for the same device type is already here: give this one another name."
        ) from None


def by_id(connection: Connection, artifact: str) -> Artifact | None:
    row = connection.execute(select(artifacts).where(artifacts.c.id == artifact)).one_or_none()
    return None if row is None else _artifact(row)


def by_name(connection: Connection, name: str) -> list[Artifact]:
    return [_artifact(row) for row in connection.execute(_all().where(artifacts.c.name == name))]


def ids_by_name(connection: Connection, names: Collection[str]) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {name: [] for name in names}
    for row in connection.execute(select(artifacts.c.id, artifacts.c.name).where(artifacts.c.name.in_(names))):
        found[row.name].append(row.id)
    return found


def listed(connection: Connection, name: str | None, page: Page) -> tuple[list[Artifact], int]:
    query = _all() if name is None else _all().where(artifacts.c.name == name)
    rows, total = rows_of(connection, query, page)
    return [_artifact(row) for row in rows], total


def all_ids(connection: Connection) -> set[str]:
    return set(connection.execute(select(artifacts.c.id)).scalars())


def remove(connection: Connection, artifact: str) -> None:
    connection.execute(delete(artifacts).where(artifacts.c.id == artifact))


def _all() -> Select[Any]:
    return select(artifacts).order_by(artifacts.c.modified, artifacts.c.id)


def _artifact(row: Row[Any]) -> Artifact:
    told = row.facts
    facts = Facts(
        name=told["name"],
        device_types=tuple(told["device_types"]),
        payload_type=told["payload_type"],
        provides=told["provides"],
        depends={key: tuple(values) for key, values in told["depends"].items()},
        clears=None if told["clears"] is None else tuple(told["clears"]),
        signed=told["signed"],
        files=tuple(PayloadFacts(**file) for file in told["files"]),
    )
    return Artifact(row.id, facts, row.description, row.size, row.modified)
