# SPDX-License-Identifier: Apache-2.0
"""Users of the management interface: what a name and a password may be, and how a password is remembered.

Never holds a password in readable form; knows nothing of roles, since every user may do everything.
"""

import base64
import binascii
import os

from cryptography.exceptions import InvalidKey
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from server_stub.errors import BadInput, Unauthorized

SHORTEST_PASSWORD = 8
COST, BLOCK, LANES, LENGTH = 2**14, 8, 1, 32


def check_name(name: str) -> str:
    # A colon ends the name in basic authentication.
    if not name or not name.isprintable() or ":" in name or name != name.strip():
        raise BadInput(f"{name!r} cannot be a user name: use printable characters without a colon.")
    return name


def check_password(password: str) -> str:
    if len(password) < SHORTEST_PASSWORD:
        raise BadInput(f"The password is too short: give at least {SHORTEST_PASSWORD} characters on standard input.")
    return password


def remember(password: str) -> str:
    salt = os.urandom(16)
    derived = _kdf(salt, COST, BLOCK, LANES).derive(password.encode())
    return "$".join(("scrypt", str(COST), str(BLOCK), str(LANES), _text(salt), _text(derived)))


def matches(password: str, remembered: str) -> bool:
    # The parameters are read back, so that they can grow without locking anybody out.
    _, cost, block, lanes, salt, derived = remembered.split("$")
    try:
        _kdf(base64.b64decode(salt), int(cost), int(block), int(lanes)).verify(
            password.encode(), base64.b64decode(derived)
        )
    except InvalidKey:
        return False
    return True


def read_basic(authorization: str | None) -> tuple[str, str]:
    """Name and password from an Authorization header."""
    scheme, _, packed = (authorization or "").partition(" ")
    try:
        name, colon, password = base64.b64decode(packed, validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        raise Unauthorized("The Authorization header is not basic authentication.") from None
    if scheme.lower() != "basic" or not colon:
        raise Unauthorized("Log in with basic authentication: a name and a password.")
    return name, password


def _kdf(salt: bytes, cost: int, block: int, lanes: int) -> Scrypt:
    return Scrypt(salt=salt, length=LENGTH, n=cost, r=block, p=lanes)


def _text(raw: bytes) -> str:
    return base64.b64encode(raw).decode()
