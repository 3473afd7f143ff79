# SPDX-License-Identifier: Apache-2.0
"""Rows of releases: notes and tags that the operator gave to a name of artifacts."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass

from sqlalchemy import Connection, delete, insert, select

from server_stub.storage.revisions import Topic, touch
from server_stub.storage.schema import artifacts, releases


@dataclass(frozen=True, slots=True)
class Note:
    notes: str = ""
    tags: tuple[str, ...] = ()


def notes_of(connection: Connection, names: Collection[str]) -> dict[str, Note]:
    found = {name: Note() for name in names}
    for row in connection.execute(select(releases).where(releases.c.name.in_(names))):
        found[row.name] = Note(row.notes, tuple(row.tags))
    return found


def save(connection: Connection, name: str, note: Note) -> None:
    connection.execute(delete(releases).where(releases.c.name == name))
    connection.execute(insert(releases).values(name=name, notes=note.notes, tags=list(note.tags)))
    touch(connection, Topic.ARTIFACTS)


def remove(connection: Connection, names: Sequence[str]) -> None:
    connection.execute(delete(releases).where(releases.c.name.in_(names)))


def all_tags(connection: Connection) -> list[str]:
    """The tags of releases that have artifacts."""
    query = select(releases.c.tags).where(releases.c.name.in_(select(artifacts.c.name)))
    return sorted({tag for row in connection.execute(query) for tag in row.tags})
