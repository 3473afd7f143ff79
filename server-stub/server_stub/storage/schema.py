# SPDX-License-Identifier: Apache-2.0
"""The tables as they are now. Owns their shape and what the database itself must refuse: duplicates, dangling rows.

Every change here comes with a migration; a test compares the two.
"""

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    Column,
    Float,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    false,
)

# The latest migration.
REVISION = "0003"
# SQLite counts up by itself only what is called INTEGER, and its integers are as long.
Long = BigInteger().with_variant(Integer, "sqlite")

metadata = MetaData()

# What the servers on one database share: the key under every token and link.
settings = Table(
    "settings",
    metadata,
    Column("key", String, primary_key=True),
    Column("value", Text, nullable=False),
)

# How often each kind of thing has changed (storage.revisions).
revisions = Table(
    "revisions",
    metadata,
    Column("topic", String, primary_key=True),
    Column("number", Long, nullable=False),
)

users = Table(
    "users",
    metadata,
    Column("name", String, primary_key=True),
    Column("password", String, nullable=False),
    Column("role", String, nullable=False, server_default="admin"),
    Column("created", String, nullable=False, server_default=""),
)

# A token without a name was given at a log-in.
tokens = Table(
    "tokens",
    metadata,
    Column("id", String, primary_key=True),
    Column("user", ForeignKey(users.c.name, ondelete="CASCADE"), nullable=False),
    Column("name", String),
    Column("role", String, nullable=False),
    Column("created", String, nullable=False),
    Column("expires", String, nullable=False),
    UniqueConstraint("user", "name"),
)

devices = Table(
    "devices",
    metadata,
    Column("order", Long, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("identity", Text, nullable=False, unique=True),
    Column("status", String, nullable=False),
    Column("created_ts", String, nullable=False),
    Column("updated_ts", String, nullable=False),
    Column("check_in_ts", String),
    Column("inventory_ts", String),
    Column("group", String),
    Index("devices_by_status", "status"),
    Index("devices_by_group", "group"),
)

auth_sets = Table(
    "auth_sets",
    metadata,
    Column("order", Long, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("device_id", ForeignKey(devices.c.id, ondelete="CASCADE"), nullable=False),
    Column("pubkey", Text, nullable=False),
    Column("status", String, nullable=False),
    Column("ts", String, nullable=False),
    UniqueConstraint("device_id", "pubkey"),
    Index("auth_sets_by_status", "status"),
)

# One row per value: a list has several, at positions from 0; one without members has a row at -1.
attributes = Table(
    "attributes",
    metadata,
    Column("device_id", ForeignKey(devices.c.id, ondelete="CASCADE"), primary_key=True),
    Column("scope", String, primary_key=True),
    Column("name", String, primary_key=True),
    Column("position", Integer, primary_key=True, autoincrement=False),
    Column("listed", Boolean, nullable=False),
    Column("text", Text),
    Column("number", Float),
    # Not with the text: SQLite would take it for one device's attribute that is larger than something, and read all.
    Index("attributes_by_name", "scope", "name", "position"),
)

# Named filters: what Mender calls dynamic groups.
filters = Table(
    "filters",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, unique=True),
    Column("terms", JSON, nullable=False),
)

artifacts = Table(
    "artifacts",
    metadata,
    Column("id", String, primary_key=True),
    Column("name", String, nullable=False, index=True),
    Column("description", Text, nullable=False),
    Column("size", Long, nullable=False),
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

# What the operator adds to a name of artifacts; a release without notes and tags needs no row.
releases = Table(
    "releases",
    metadata,
    Column("name", String, primary_key=True),
    Column("notes", Text, nullable=False),
    Column("tags", JSON, nullable=False),
)

deployments = Table(
    "deployments",
    metadata,
    # Time stamps may repeat or run backwards; this number does not.
    Column("order", Long, primary_key=True, autoincrement=True),
    Column("id", String, nullable=False, unique=True),
    Column("name", String, nullable=False),
    Column("artifact_name", String, nullable=False),
    Column("force", Boolean, nullable=False),
    Column("created", String, nullable=False),
    Column("finished", String),
    Column("target", JSON, nullable=False),
    Column("plan", JSON, nullable=False),
    Column("retries", Integer, nullable=False, server_default="0"),
    Column("failure_limit", JSON),
    Column("state", String, nullable=False, server_default="running"),
    Column("reason", Text),
    Column("begun", Integer, nullable=False, server_default="0"),
    Column("control_map", JSON),
    Index("deployments_by_artifact", "artifact_name"),
    Index("deployments_open", "finished"),
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
    Column("attempts", Integer, nullable=False, server_default="0"),
    Column("counted", Boolean, nullable=False, server_default=false()),
    Column("phase", Integer),
    Column("cleared", Boolean, nullable=False, server_default=false()),
    Index("entries_by_device", "device_id"),
    Index("entries_by_status", "deployment_id", "status"),
    Index("entries_by_artifact", "artifact_id"),
)

# How many devices of a deployment are in each status, so that nobody has to count 100,000 of them.
tallies = Table(
    "tallies",
    metadata,
    Column("deployment_id", ForeignKey(deployments.c.id), primary_key=True),
    Column("status", String, primary_key=True),
    Column("number", Integer, nullable=False),
)

history = Table(
    "history",
    metadata,
    Column("order", Long, primary_key=True, autoincrement=True),
    Column("deployment_id", String, nullable=False),
    Column("device_id", String, nullable=False),
    Column("status", String, nullable=False),
    Column("substate", String),
    Column("time", String, nullable=False),
    Column("author", String, nullable=False),
    ForeignKeyConstraint(["deployment_id", "device_id"], [entries.c.deployment_id, entries.c.device_id]),
    Index("history_by_entry", "deployment_id", "device_id"),
)
