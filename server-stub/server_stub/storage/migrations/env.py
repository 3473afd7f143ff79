# SPDX-License-Identifier: Apache-2.0
"""Alembic's entry: runs the migrations on the connection that it is handed, inside the caller's transaction."""

from alembic import context

from server_stub.storage.schema import metadata

context.configure(
    connection=context.config.attributes["connection"],
    target_metadata=metadata,
    # The caller begins and commits, so that a server that is killed while it migrates has done nothing.
    transactional_ddl=False,
)
context.run_migrations()
