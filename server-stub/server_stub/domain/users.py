# SPDX-License-Identifier: Apache-2.0
"""Users of the management interface: what a name and a password may be, how a password is remembered, and roles.

Passwords are kept as Argon2id (RFC 9106, argon2-cffi's parameters). Never holds one in readable form.
"""

import base64
import binascii
from dataclasses import dataclass
from enum import StrEnum
from functools import cache

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from server_stub.errors import BadInput, Unauthorized

SHORTEST_PASSWORD = 8
# Hashing is slow on purpose; no password is longer than this, so that nobody makes it slower still.
LONGEST_PASSWORD = 1024
LONGEST_NAME = 254
_HASHER = PasswordHasher()
_FORMER = "scrypt$"


class Role(StrEnum):
    """What a user or a token may do; each may do all that the one before it may."""

    READ_ONLY = "read-only"
    """look at everything but users and tokens of others"""
    DEPLOYER = "deployer"
    """bring and delete artifacts, put devices into groups, and start, pause, abort deployments"""
    ADMIN = "admin"
    """decide over devices and users, and inject faults"""

    def covers(self, wanted: "Role") -> bool:
        order = list(Role)
        return order.index(self) >= order.index(wanted)


@dataclass(frozen=True, slots=True)
class User:
    """One who may log in; `password` is what is remembered of it."""

    name: str
    password: str
    role: Role
    created: str


def check_name(name: str) -> str:
    # A colon ends the name in basic authentication.
    if not name or len(name) > LONGEST_NAME or not name.isprintable() or ":" in name or name != name.strip():
        raise BadInput(f"{name[:80]!r} cannot be a user name: use printable characters without a colon.")
    return name


def check_password(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise BadInput(f"The password is too short: give at least {SHORTEST_PASSWORD} characters.")
    if len(password) > LONGEST_PASSWORD:
        raise BadInput(f"The password is too long: give at most {LONGEST_PASSWORD} characters.")
    return password


def remember(password: str) -> str:
    return _HASHER.hash(password)


def matches(password: str, remembered: str | None) -> bool:
    """Whether the password is the remembered one; takes as long for a user that does not exist (None)."""
    if len(password) > LONGEST_PASSWORD:
        return False
    if remembered is not None and remembered.startswith(_FORMER):
        return _matches_former(password, remembered)
    try:
        _HASHER.verify(remembered or _nobody(), password)
    except (VerificationError, InvalidHashError):
        return False
    return remembered is not None


def is_dated(remembered: str) -> bool:
    """Whether the password should be remembered anew, now that it is known."""
    return remembered.startswith(_FORMER) or _HASHER.check_needs_rehash(remembered)


def read_basic(authorization: str | None) -> tuple[str, str]:
    """Name and password from an Authorization header (RFC 7617)."""
    scheme, _, packed = (authorization or "").partition(" ")
    try:
        name, colon, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, ValueError):
        raise Unauthorized("The Authorization header is not basic authentication.") from None
    if scheme.lower() != "basic" or not colon:
        raise Unauthorized("Log in with basic authentication: a name and a password.")
    return name, password


@cache
def _nobody() -> str:
    """What a name that nobody has is compared with, so that the answer takes as long as for one that somebody has."""
    return _HASHER.hash("nobody")


def _matches_former(password: str, remembered: str) -> bool:
    """Passwords of the first version of the database."""
    _, cost, block, lanes, salt, derived = remembered.split("$")
    former = Scrypt(salt=base64.b64decode(salt), length=32, n=int(cost), r=int(block), p=int(lanes))
    try:
        former.verify(password.encode(), base64.b64decode(derived))
    except InvalidKey:
        return False
    return True
