# SPDX-License-Identifier: Apache-2.0
"""From any version of the tables to the present one (Alembic). The first is a database of the first server.

Migrations are history: they do not import the present schema, and are not changed once they have been released.
"""
