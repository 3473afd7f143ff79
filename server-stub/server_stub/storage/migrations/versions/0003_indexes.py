# SPDX-License-Identifier: Apache-2.0
"""Indexes for what is asked of all devices: who waits to be let in, and which attributes there are."""

from alembic import op

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    op.create_index("auth_sets_by_status", "auth_sets", ["status"])
    op.drop_index("attributes_by_name", "attributes")
    op.create_index("attributes_by_name", "attributes", ["scope", "name", "position"])
