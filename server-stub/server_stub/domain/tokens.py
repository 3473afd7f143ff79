# SPDX-License-Identifier: Apache-2.0
"""Tokens: what a device or a user shows to be served. Refuses tokens of the other kind, forged or expired ones.

That a token is genuine does not mean that it still counts: the caller must ask the database whether its device is
still accepted, or whether it has been revoked. Claims are those of Mender's tokens; clients do not look into them.
"""

import uuid
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import jwt

from server_stub.domain.users import Role
from server_stub.errors import Unauthorized

ISSUER = "Mender"
ALGORITHM = "HS256"
LIFE = timedelta(days=7)
LOCAL_LIFE = timedelta(minutes=10)
LOCAL_NAME = "local"
# A device's token is a third of this. What is shown is remembered with the token, and blanks around it are passed over.
LONGEST_SHOWN = 1024
_DEVICE, _USER, _LOCAL = "mender.device", "mender.user", "mender.local"


@dataclass(frozen=True, slots=True)
class DeviceBearer:
    """Whose token it is, and which auth set it was given for."""

    device: str
    auth_set: str
    expires: datetime


@dataclass(frozen=True, slots=True)
class UserBearer:
    """Whose token it is and how far it goes. A local one is made by who can read the server's own secret."""

    name: str
    token: str
    role: Role
    local: bool


def for_device(secret: bytes, device: str, auth_set: str, now: datetime) -> str:
    return _issue(secret, device, auth_set, now, now + LIFE, {_DEVICE: True})


def for_user(secret: bytes, name: str, token: str, role: Role, now: datetime, expires: datetime) -> str:
    return _issue(secret, name, token, now, expires, {_USER: True, "scope": role})


def for_local(secret: bytes, now: datetime) -> str:
    """For the commands of who owns the server's directory; counts for a few minutes and is kept nowhere."""
    claims = {_LOCAL: True, "scope": Role.ADMIN}
    return _issue(secret, LOCAL_NAME, str(uuid.uuid4()), now, now + LOCAL_LIFE, claims)


def read_device(secret: bytes, authorization: str | None, now: datetime) -> DeviceBearer:
    if authorization is not None and len(authorization) > LONGEST_SHOWN:
        raise Unauthorized("The token is longer than those of this server.")
    claims = _read(secret, authorization, now)
    if claims.get(_DEVICE) is not True:
        raise Unauthorized("The token is not meant for this interface.")
    expires = datetime.fromtimestamp(claims["exp"], UTC)
    return DeviceBearer(str(claims["sub"]), str(claims["jti"]), expires)


def read_user(secret: bytes, authorization: str | None, now: datetime) -> UserBearer:
    claims = _read(secret, authorization, now)
    local = claims.get(_LOCAL) is True
    if not local and claims.get(_USER) is not True:
        raise Unauthorized("The token is not meant for this interface.")
    try:
        role = Role(claims["scope"])
    except (KeyError, ValueError):
        raise Unauthorized("The token is of an older server: log in again.") from None
    return UserBearer(str(claims["sub"]), str(claims["jti"]), role, local)


def _issue(secret: bytes, subject: str, token: str, now: datetime, expires: datetime, more: dict[str, Any]) -> str:
    claims = {"jti": token, "sub": subject, "iss": ISSUER, "iat": now, "exp": expires, **more}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def _read(secret: bytes, authorization: str | None, now: datetime) -> dict[str, Any]:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("The request carries no bearer token.")
    # Laboratories turn clocks back: a token from "the future" is still ours.
    options: Any = {"require": ["jti", "sub", "iss", "exp"], "verify_iat": False, "verify_exp": False}
    try:
        claims: dict[str, Any] = jwt.decode(
            token.strip(), secret, algorithms=[ALGORITHM], issuer=ISSUER, options=options
        )
    except jwt.InvalidTokenError as problem:
        raise Unauthorized(f"The token is not valid: {problem}.") from None
    # The library would read a clock of its own.
    if not isinstance(claims["exp"], int) or claims["exp"] <= now.timestamp():
        raise Unauthorized("The token is not valid: it has expired.")
    return claims
