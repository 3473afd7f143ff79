# SPDX-License-Identifier: Apache-2.0
"""Rows of users."""

from sqlalchemy import Connection, insert, select

from server_stub.storage.schema import users


def add(connection: Connection, name: str, password: str) -> None:
    connection.execute(insert(users).values(name=name, password=password))


def password_of(connection: Connection, name: str) -> str | None:
    return connection.execute(select(users.c.password).where(users.c.name == name)).scalar_one_or_none()
