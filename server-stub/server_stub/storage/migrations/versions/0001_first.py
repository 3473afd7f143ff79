# SPDX-License-Identifier: Apache-2.0
"""The tables of the first server."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None

_LONG = sa.BigInteger().with_variant(sa.Integer, "sqlite")


def upgrade() -> None:
    op.create_table(
        "users",
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("password", sa.String, nullable=False),
    )
    op.create_table(
        "devices",
        sa.Column("order", _LONG, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("identity", sa.Text, nullable=False, unique=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("created_ts", sa.String, nullable=False),
        sa.Column("updated_ts", sa.String, nullable=False),
        sa.Column("check_in_ts", sa.String),
        sa.Column("inventory_ts", sa.String),
    )
    op.create_table(
        "auth_sets",
        sa.Column("order", _LONG, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id", ondelete="CASCADE"), nullable=False),
        sa.Column("pubkey", sa.Text, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("ts", sa.String, nullable=False),
        sa.UniqueConstraint("device_id", "pubkey"),
    )
    op.create_table(
        "attributes",
        sa.Column("device_id", sa.String, sa.ForeignKey("devices.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("name", sa.String, primary_key=True),
        sa.Column("value", sa.JSON, nullable=False),
    )
    _artifacts()
    _deployments()


def _artifacts() -> None:
    op.create_table(
        "artifacts",
        sa.Column("id", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False, index=True),
        sa.Column("description", sa.Text, nullable=False),
        sa.Column("size", _LONG, nullable=False),
        sa.Column("facts", sa.JSON, nullable=False),
        sa.Column("modified", sa.String, nullable=False),
    )
    op.create_table(
        "artifact_types",
        sa.Column("artifact_id", sa.String, sa.ForeignKey("artifacts.id", ondelete="CASCADE"), primary_key=True),
        sa.Column("device_type", sa.String, primary_key=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("depends", sa.Text, nullable=False),
        sa.UniqueConstraint("name", "device_type", "depends"),
    )


def _deployments() -> None:
    op.create_table(
        "deployments",
        sa.Column("order", _LONG, primary_key=True, autoincrement=True),
        sa.Column("id", sa.String, nullable=False, unique=True),
        sa.Column("name", sa.String, nullable=False),
        sa.Column("artifact_name", sa.String, nullable=False),
        sa.Column("force", sa.Boolean, nullable=False),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("finished", sa.String),
    )
    op.create_table(
        "entries",
        sa.Column("deployment_id", sa.String, sa.ForeignKey("deployments.id"), primary_key=True),
        sa.Column("device_id", sa.String, primary_key=True),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("substate", sa.String),
        sa.Column("created", sa.String, nullable=False),
        sa.Column("started", sa.String),
        sa.Column("finished", sa.String),
        sa.Column("asked_device_type", sa.String),
        sa.Column("asked_artifact_name", sa.String),
        sa.Column("artifact_id", sa.String, sa.ForeignKey("artifacts.id", ondelete="SET NULL")),
        sa.Column("log", sa.Text),
        sa.Index("entries_by_device", "device_id"),
    )
    op.create_table(
        "history",
        sa.Column("order", _LONG, primary_key=True, autoincrement=True),
        sa.Column("deployment_id", sa.String, nullable=False),
        sa.Column("device_id", sa.String, nullable=False),
        sa.Column("status", sa.String, nullable=False),
        sa.Column("substate", sa.String),
        sa.Column("time", sa.String, nullable=False),
        sa.Column("author", sa.String, nullable=False),
        sa.ForeignKeyConstraint(["deployment_id", "device_id"], ["entries.deployment_id", "entries.device_id"]),
        sa.Index("history_by_entry", "deployment_id", "device_id"),
    )
