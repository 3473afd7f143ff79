# SPDX-License-Identifier: Apache-2.0
"""The tables. Owns their shape and what the database itself must refuse: duplicates and dangling rows."""

from sqlalchemy import (
    JSON,
    Boolean,
    Column,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)

# Raised with every change of the tables; a database of another version is not opened.
VERSION = 1

metadata = MetaData()

users = Table(
    "users",
    metadata,
    Column("name", String, primary_key=True),
    Column("password", String, nullable=False),
)

devices = Table(
    "devices",
    metadata,
    Column("order", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("identity", Text, nullable=False, unique=True),
    Column("status", String, nullable=False),
    Column("created_ts", String, nullable=False),
    Column("updated_ts", String, nullable=False),
    Column("check_in_ts", String),
    Column("inventory_ts", String),
)

auth_sets = Table(
    "auth_sets",
    metadata,
    Column("order", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("device_id", ForeignKey(devices.c.id, ondelete="CASCADE"), nullable=False),
    Column("pubkey", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("ts", String, nullable=False),
    UniqueConstraint("device_id", "pubkey"),
)

attributes = Table(
    "attributes",
    metadata,
    Column("device_id", ForeignKey(devices.c.id, ondelete="CASCADE"), primary_key=True),
    Column("name", String, primary_key=True),
    Column("value", JSON, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("description", Text, nullable=False),
    Column("size", Integer, nullable=False),
    Column("facts", JSON, nullable=False),
    Column("modified", String, nullable=False),
)

# One row per device type, so that the database keeps the rule of uniqueness.
artifact_types = Table(
    "artifact_types",
    metadata,
    Column("artifact_id", ForeignKey(artifacts.c.id, ondelete="CASCADE"), primary_key=True),
    Column("device_type", String, primary_key=True),
    Column("name", String, nullable=False),
    Column("depends", Text, nullable=False),
    UniqueConstraint("name", "device_type", "depends"),
)

deployments = Table(
    "deployments",
    metadata,
    # Time stamps may repeat or run backwards; this number does not.
    Column("order", Integer, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("artifact_name", String, nullable=False),
    Column("force", Boolean, nullable=False),
    Column("created", String, nullable=False),
    Column("finished", String),
)

# A device may be gone while its part in a deployment is kept, so device_id points nowhere.
entries = Table(
    "entries",
    metadata,
    Column("deployment_id", ForeignKey(deployments.c.id), primary_key=True),
    Column("device_id", String, primary_key=True),
    Column("status", String, nullable=False),
    Column("substate", String),
    Column("created", String, nullable=False),
    Column("started", String),
    Column("finished", String),
    Column("asked_device_type", String),
    Column("asked_artifact_name", String),
    Column("artifact_id", ForeignKey(artifacts.c.id, ondelete="SET NULL")),
    Column("log", Text),
    Index("entries_by_device", "device_id"),
)

history = Table(
    "history",
    metadata,
    Column("order", Integer, primary_key=True, autoincrement=True),
    Column("deployment_id", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("substate", String),
    Column("time", String, nullable=False),
    Column("author", String, nullable=False),
    ForeignKeyConstraint(["deployment_id", "device_id"], [entries.c.deployment_id, entries.c.device_id]),
    Index("history_by_entry", "deployment_id", "device_id"),
)
