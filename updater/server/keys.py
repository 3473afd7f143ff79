# SPDX-License-Identifier: Apache-2.0
"""The private key that a device proves itself with: Ed25519, RSA or ECDSA, as a PEM file.

The cryptography library is loaded at use, not with this module: a start of the device must not pay for it.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from updater.errors import UpdaterError
from updater.recordfile import flush_directory

CURVES = ("secp256r1", "secp384r1", "secp521r1")


@dataclass(frozen=True)
class DeviceKey:
    """What the server is shown of a key (PEM), and how something is signed with it."""

    public: str
    sign: Callable[[bytes], bytes]


def load_key(path: Path) -> DeviceKey:
    """Read a key.

    Raises:
        UpdaterError: the file cannot be read, or holds no key that can be used.  It is left as it is: a key made in
            its place would be another device to the server.
    """
    from cryptography.exceptions import UnsupportedAlgorithm
    from cryptography.hazmat.primitives import hashes
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa

    content = _content(path)
    try:
        key = form.load_pem_private_key(content, None)
    except TypeError as error:  # this is how the library says that a password is wanted
        raise UpdaterError(
            f"The device key {path} is encrypted, and there is nobody here to give a password."
        ) from error
    except (ValueError, UnsupportedAlgorithm) as error:
        raise UpdaterError(
            f"The device key {path} cannot be used: it is damaged or not a private key in PEM.  Put the key back, or "
            "remove the file to become a new device."
        ) from error
    sign: Callable[[bytes], bytes]
    if isinstance(key, ed25519.Ed25519PrivateKey):
        sign = key.sign
    elif isinstance(key, rsa.RSAPrivateKey):
        rsa_key = key
        sign = lambda data: rsa_key.sign(data, padding.PKCS1v15(), hashes.SHA256())  # noqa: E731
    elif isinstance(key, ec.EllipticCurvePrivateKey) and key.curve.name in CURVES:
        ec_key = key
        sign = lambda data: ec_key.sign(data, ec.ECDSA(hashes.SHA256()))  # noqa: E731
    else:
        raise UpdaterError(
            f"The device key {path} cannot be used: it is not Ed25519, RSA, or ECDSA on P-256, P-384 or P-521."
        )
    public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
    return DeviceKey(public.decode(), sign)


def create_key(path: Path) -> None:
    """Make an Ed25519 key.

    Raises:
        UpdaterError: it cannot be written.
    """
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))


def is_missing(path: Path) -> bool:
    """Whether there is no key yet.  A file without a byte is what a power cut leaves of a client that did not flush.

    Raises:
        UpdaterError: it cannot be told.
    """
    try:
        return path.stat().st_size == 0
    except FileNotFoundError:
        return True
    except OSError as error:
        raise UpdaterError(f"The device key {path} cannot be read: {error.strerror}.") from error


def write_private(path: Path, content: bytes) -> None:
    """Replace a file that only its owner may read, whole or not at all.

    Raises:
        UpdaterError: it cannot be written; what was there before still is.
    """
    fresh = path.with_suffix(".new")
    try:
        fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.fchmod(fd, 0o600)  # one left by a power cut keeps the mode that it had
            rest = memoryview(content)
            while rest:
                rest = rest[os.write(fd, rest) :]
            os.fsync(fd)
        finally:
            os.close(fd)
        fresh.replace(path)
        flush_directory(path.parent)
    except OSError as error:
        raise UpdaterError(f"{path} cannot be written: {error.strerror}.") from error


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise UpdaterError(f"The device key {path} cannot be read: {error.strerror}.") from error
