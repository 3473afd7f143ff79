# SPDX-License-Identifier: Apache-2.0
"""Brings a database to the present version of the tables, from any before it or from nothing."""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from server_stub.errors import HostProblem
from server_stub.storage import schema

MIGRATIONS = Path(__file__).parent / "migrations"


def migrate(connection: Connection) -> None:
    """In the caller's transaction; raises HostProblem for a database of a later server."""
    found = _version(connection)
    if found == schema.REVISION:
        return
    # Only here: most starts find nothing to do.
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if found is not None and found not in known:
        raise HostProblem(
            f"The database was made by a later server (version {found}): use that one, or choose a new directory."
        )
    if found is None and _is_of_first_server(connection):
        command.stamp(config, "0001")
    command.upgrade(config, schema.REVISION)


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    return connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()


def _is_of_first_server(connection: Connection) -> bool:
    """The first server wrote its version where SQLite has a place for it."""
    if connection.dialect.name != "sqlite":
        return False
    return bool(connection.execute(text("PRAGMA user_version")).scalar_one() == 1)
