# SPDX-License-Identifier: Apache-2.0
"""Who this device is: its key, its identity, and what it says of itself.

Identity and inventory scripts print `name=value` lines; a name that repeats becomes a list.
"""

from __future__ import annotations

import json
import logging
import os
from pathlib import Path

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from updater.errors import UpdaterError
from updater.ports import Runner
from updater.store import flush_directory

SCRIPT_DIRECTORY = Path("/usr/share/mender")
log = logging.getLogger(__name__)


def parse_values(printed: str) -> dict[str, str | list[str]]:
    """Parse `name=value` lines.

    Raises:
        UpdaterError: a line is not of that form.
    """
    values: dict[str, str | list[str]] = {}
    for line in filter(None, map(str.strip, printed.splitlines())):
        name, equals, value = line.partition("=")
        if not equals:
            raise UpdaterError(f"'{line}' is not of the form name=value.")
        present = values.get(name)
        if present is None:
            values[name] = value
        elif isinstance(present, list):
            present.append(value)
        else:
            values[name] = [present, value]
    return values


def identity(runner: Runner, scripts: Path = SCRIPT_DIRECTORY) -> str:
    """The device's identity as JSON with sorted names.

    Raises:
        UpdaterError: the identity script failed or printed nothing of use.
    """
    values = parse_values(runner.run([str(scripts / "identity" / "mender-device-identity")]))
    if not values:
        raise UpdaterError("The identity script printed nothing, so the server could not tell this device from others.")
    return json.dumps(values, sort_keys=True, separators=(",", ":"))


def inventory(runner: Runner, scripts: Path = SCRIPT_DIRECTORY) -> dict[str, str | list[str]]:
    """What all inventory scripts print together; one that fails is skipped."""
    found: dict[str, str | list[str]] = {}
    for script in sorted((scripts / "inventory").glob("mender-inventory-*")):
        try:
            found.update(parse_values(runner.run([str(script)])))
        except (UpdaterError, OSError) as error:
            log.warning("inventory script %s was skipped: %s", script.name, error)
    return found


class DeviceKey:
    """The key that identifies this device, `mender-agent.pem`; made at first use, never half-written."""

    def __init__(self, directory: Path) -> None:
        path = directory / "mender-agent.pem"
        if not path.exists():
            _create(path)
        self._key = form.load_pem_private_key(path.read_bytes(), None)
        if not isinstance(self._key, Ed25519PrivateKey):
            raise UpdaterError(f"The device key {path} is not of a kind that this version can use (Ed25519).")

    @property
    def public_pem(self) -> str:
        public = self._key.public_key()
        return public.public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()

    def sign(self, data: bytes) -> bytes:
        assert isinstance(self._key, Ed25519PrivateKey)
        return self._key.sign(data)


def _create(path: Path) -> None:
    pem = Ed25519PrivateKey.generate().private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(fd, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)
    flush_directory(path.parent)
