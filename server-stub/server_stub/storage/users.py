# SPDX-License-Identifier: Apache-2.0
"""Rows of users and of their tokens."""

from dataclasses import dataclass

from sqlalchemy import Connection, delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from server_stub.domain.users import Role, User
from server_stub.errors import Unprocessable
from server_stub.storage.schema import tokens, users


@dataclass(frozen=True, slots=True)
class Token:
    """A token that was given out; without a name at a log-in."""

    id: str
    user: str
    name: str | None
    role: Role
    created: str
    expires: str


def add(connection: Connection, user: User) -> None:
    row = {"name": user.name, "password": user.password, "role": user.role, "created": user.created}
    try:
        with connection.begin_nested():
            connection.execute(insert(users).values(row))
    except IntegrityError:
        raise Unprocessable(f"There is already a user {user.name!r}: choose another name.") from None


def by_name(connection: Connection, name: str) -> User | None:
    row = connection.execute(select(users).where(users.c.name == name)).one_or_none()
    return None if row is None else User(row.name, row.password, Role(row.role), row.created)


def listed(connection: Connection) -> list[User]:
    rows = connection.execute(select(users).order_by(users.c.name))
    return [User(row.name, row.password, Role(row.role), row.created) for row in rows]


def save(connection: Connection, user: User) -> None:
    values = {"password": user.password, "role": user.role}
    connection.execute(update(users).where(users.c.name == user.name).values(values))


def remove(connection: Connection, name: str) -> bool:
    return connection.execute(delete(users).where(users.c.name == name)).rowcount > 0


def admins(connection: Connection) -> int:
    query = select(func.count()).select_from(users).where(users.c.role == Role.ADMIN)
    return connection.execute(query).scalar_one()


def add_token(connection: Connection, token: Token, now: str) -> None:
    """Keep a token, and forget those that have expired."""
    connection.execute(delete(tokens).where(tokens.c.expires < now))
    row = {
        "id": token.id,
        "user": token.user,
        "name": token.name,
        "role": token.role,
        "created": token.created,
        "expires": token.expires,
    }
    try:
        with connection.begin_nested():
            connection.execute(insert(tokens).values(row))
    except IntegrityError:
        raise Unprocessable(f"There is already a token {token.name!r}: choose another name, or revoke it.") from None


def tokens_of(connection: Connection, user: str) -> list[Token]:
    """Those with a name."""
    query = select(tokens).where(tokens.c.user == user, tokens.c.name.is_not(None)).order_by(tokens.c.created)
    return [
        Token(row.id, row.user, row.name, Role(row.role), row.created, row.expires) for row in connection.execute(query)
    ]


def role_of_token(connection: Connection, token: str, user: str) -> Role | None:
    """What the token may do now: no more than its user; None if it has been revoked."""
    query = (
        select(tokens.c.role.label("given"), users.c.role.label("held"))
        .join(users)
        .where(tokens.c.id == token, tokens.c.user == user)
    )
    row = connection.execute(query).one_or_none()
    if row is None:
        return None
    given, held = Role(row.given), Role(row.held)
    return given if held.covers(given) else held


def remove_token(connection: Connection, token: str, user: str) -> bool:
    found = connection.execute(delete(tokens).where(tokens.c.id == token, tokens.c.user == user))
    return found.rowcount > 0


def remove_any_token(connection: Connection, token: str) -> bool:
    return connection.execute(delete(tokens).where(tokens.c.id == token)).rowcount > 0


def remove_tokens(connection: Connection, user: str) -> None:
    connection.execute(delete(tokens).where(tokens.c.user == user))
