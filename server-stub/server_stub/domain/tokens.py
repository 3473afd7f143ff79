# SPDX-License-Identifier: Apache-2.0
"""Tokens: what a device or a user shows to be served. Refuses tokens of the other kind, forged or expired ones.

That a token is genuine does not mean that its device is still accepted: the caller must ask the database.
"""

import uuid
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import jwt

from server_stub.errors import Unauthorized

ISSUER = "Mender"
ALGORITHM = "HS256"
LIFE = timedelta(days=7)


@dataclass(frozen=True, slots=True)
class Bearer:
    """Whose token it is, and (for a device) which auth set it was given for."""

    subject: str
    token_id: str


def for_device(secret: bytes, device: str, auth_set: str, now: datetime) -> str:
    return _issue(secret, device, auth_set, now, "mender.device")


def for_user(secret: bytes, user: str, now: datetime) -> str:
    return _issue(secret, user, str(uuid.uuid4()), now, "mender.user")


def read_device(secret: bytes, authorization: str | None) -> Bearer:
    return _read(secret, authorization, "mender.device")


def read_user(secret: bytes, authorization: str | None) -> Bearer:
    return _read(secret, authorization, "mender.user")


def _issue(secret: bytes, subject: str, token_id: str, now: datetime, kind: str) -> str:
    claims = {"jti": token_id, "sub": subject, "iss": ISSUER, "iat": now, "exp": now + LIFE, kind: True}
    return jwt.encode(claims, secret, algorithm=ALGORITHM)


def _read(secret: bytes, authorization: str | None, kind: str) -> Bearer:
    scheme, _, token = (authorization or "").partition(" ")
    if scheme.lower() != "bearer" or not token:
        raise Unauthorized("The request carries no bearer token.")
    # Laboratories turn clocks back: a token from "the future" is still ours.
    options: Any = {"require": ["jti", "sub", "iss", "exp"], "verify_iat": False}
    try:
        claims = jwt.decode(token.strip(), secret, algorithms=[ALGORITHM], issuer=ISSUER, options=options)
    except jwt.InvalidTokenError as problem:
        raise Unauthorized(f"The token is not valid: {problem}.") from None
    if claims.get(kind) is not True:
        raise Unauthorized("The token is not meant for this interface.")
    return Bearer(str(claims["sub"]), str(claims["jti"]))
