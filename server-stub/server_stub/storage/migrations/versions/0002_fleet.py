# SPDX-License-Identifier: Apache-2.0
"""Roles and tokens, scopes of attributes, groups, filters, releases, roll-out, tallies."""

import hashlib
import json
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    _settings()
    _users()
    _devices()
    _attributes()
    _artifacts()
    _deployments()


def _settings() -> None:
    op.create_table(
        "settings",
        sa.Column("key", sa.String, primary_key=True),
        sa.Column("value", sa.Text, nullable=False),
    )
    op.create_table(
        "revisions",
        sa.Column("topic", sa.String, primary_key=True),
        sa.Column("number", _LONG, nullable=False),
    )


def _users() -> None:
    op.add_column("users", sa.Column("role", sa.String, nullable=False, server_default="admin"))
    op.add_column("users", sa.Column("created", sa.String, nullable=False, server_default=""))
    op.create_table(
        "tokens",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("user", sa.String, sa.ForeignKey("users.name", ondelete="CASCADE"), nullable=False),
        sa.Column("name", sa.String),
        sa.Column("role", sa.String, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("expires", sa.String, nullable=False),
        sa.UniqueConstraint("user", "name"),
    )


def _devices() -> None:
    op.add_column("devices", sa.Column("group", sa.String))
    op.create_index("devices_by_status", "devices", ["status"])
    op.create_index("devices_by_group", "devices", ["group"])
    op.create_table(
        "filters",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, unique=True),
        sa.Column("terms", sa.JSON, nullable=False),
    )


def _attributes() -> None:
    """From one JSON value each to one row per plain value, and the identity's members among them."""
    bind = op.get_bind()
    former = sa.table("attributes", sa.column("device_id"), sa.column("name"), sa.column("value", sa.JSON))
    rows = [
        row for one in bind.execute(sa.select(former)) for row in _rows(one.device_id, "inventory", one.name, one.value)
    ]
    devices = sa.table("devices", sa.column("id"), sa.column("identity"))
    for device in bind.execute(sa.select(devices)):
        for name, value in json.loads(device.identity).items():
            rows += _rows(device.id, "identity", name, value)
    op.drop_table("attributes")
    table = op.create_table(
        "attributes",
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("scope", sa.String, primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("position", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("listed", sa.Boolean, nullable=False),
        sa.Column("text", sa.Text),
        sa.Column("number", sa.Float),
        sa.Index("attributes_by_name", "scope", "name"),
    )
    assert table is not None
    op.bulk_insert(table, rows)


def _rows(device: str, scope: str, name: str, value: Any) -> list[dict[str, Any]]:
    listed = isinstance(value, list)
    members = value if listed else [value]
    if listed and not all(isinstance(one, str) for one in members):
        listed, members = False, [value]
    rows = []
    for position, one in enumerate(members) if members else [(-1, None)]:
        number = float(one) if isinstance(one, int | float) and not isinstance(one, bool) else None
        text = one if isinstance(one, str) or (one is None and listed) else None
        if number is None and text is None and not listed:
            text = json.dumps(one, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
        rows.append(
            {
                "device_id": device,
                "scope": scope,
                "name": name,
                "position": position,
                "listed": listed,
                "text": text,
                "number": number,
            }
        )
    return rows


def _artifacts() -> None:
    bind = op.get_bind()
    types = sa.table("artifact_types", sa.column("artifact_id"), sa.column("device_type"), sa.column("depends"))
    for one in bind.execute(sa.select(types)).all():
        digest = hashlib.sha256(one.depends.encode()).hexdigest()
        mine = (types.c.artifact_id == one.artifact_id) & (types.c.device_type == one.device_type)
        bind.execute(sa.update(types).where(mine).values(depends=digest))
    op.create_table(
        "releases",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("notes", sa.Text, nullable=False),
        sa.Column("tags", sa.JSON, nullable=False),
    )


def _deployments() -> None:
    bind = op.get_bind()
    # Every deployment so far was for devices by their ids, at once and in one phase.
    for column in (
        sa.Column("target", sa.JSON, nullable=False, server_default='{"kind": "devices"}'),
        sa.Column("plan", sa.JSON, nullable=False, server_default='{"phases": [{}], "size": 0, "released": []}'),
        sa.Column("retries", sa.Integer, nullable=False, server_default="0"),
        sa.Column("failure_limit", sa.JSON),
        sa.Column("state", sa.String, nullable=False, server_default="running"),
        sa.Column("reason", sa.Text),
        sa.Column("begun", sa.Integer, nullable=False, server_default="0"),
        sa.Column("control_map", sa.JSON),
    ):
        op.add_column("deployments", column)
    op.create_index("deployments_by_artifact", "deployments", ["artifact_name"])
    op.create_index("deployments_open", "deployments", ["finished"])
    for column in (
        sa.Column("attempts", sa.Integer, nullable=False, server_default="0"),
        sa.Column("counted", sa.Boolean, nullable=False, server_default=sa.false()),
        sa.Column("phase", sa.Integer),
        sa.Column("cleared", sa.Boolean, nullable=False, server_default=sa.false()),
    ):
        op.add_column("entries", column)
    op.create_index("entries_by_status", "entries", ["deployment_id", "status"])
    op.create_index("entries_by_artifact", "entries", ["artifact_id"])
    tallies = op.create_table(
        "tallies",
        sa.Column("deployment_id", sa.String, sa.ForeignKey("deployments.id"), primary_key=True),
        sa.Column("status", sa.String, primary_key=True),
        sa.Column("number", sa.Integer, nullable=False),
    )
    assert tallies is not None
    entries = sa.table("entries", sa.column("deployment_id"), sa.column("status"))
    counted = sa.select(entries.c.deployment_id, entries.c.status, sa.func.count())
    counted = counted.group_by(entries.c.deployment_id, entries.c.status)
    bind.execute(sa.insert(tallies).from_select(["deployment_id", "status", "number"], counted))
