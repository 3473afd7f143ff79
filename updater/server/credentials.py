# SPDX-License-Identifier: Apache-2.0
"""What this device proves itself with: its key, and the request to be let in, signed with it.

The request holds no time and no nonce, so a signed one stays good for as long as identity and
key do.  It is kept, because loading the cryptography library costs a small device seconds at every start.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from dataclasses import dataclass
from pathlib import Path

from updater.errors import UpdaterError
from updater.store import flush_directory

KEY_FILE = "mender-agent.pem"
REQUEST_FILE = "auth-request.json"


@dataclass(frozen=True)
class AuthRequest:
    """A request's body and the base64 of its signature."""

    body: str
    signature: str


class Credentials:
    """The key and the signed request of one device, below `directory`; both made at first use, never half-written.

    Raises (from `request`):
        UpdaterError: the key cannot be used.
    """

    def __init__(self, directory: Path, identity: str, tenant_token: str = "") -> None:
        self.identity = identity
        self._directory, self._tenant = directory, tenant_token
        self._request: AuthRequest | None = None
        self._kept = False

    def request(self) -> AuthRequest:
        """The signed request: the kept one if it is about this very identity and key."""
        if self._request is None:
            self._request = self._load()
            self._kept = self._request is not None
        if self._request is None:
            self._request = self._sign()
        return self._request

    def refused(self) -> None:
        """The server did not take the request; one that was kept is signed anew, once."""
        if self._kept:
            (self._directory / REQUEST_FILE).unlink(missing_ok=True)
            self._request, self._kept = None, False

    def _load(self) -> AuthRequest | None:
        try:
            kept = json.loads((self._directory / REQUEST_FILE).read_bytes())
            fits = kept["about"] == self._about()
            return AuthRequest(kept["body"], kept["signature"]) if fits else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _about(self) -> str:
        """What a request depends on, as one digest."""
        key = (self._directory / KEY_FILE).read_bytes()
        return hashlib.sha256(key + json.dumps([self.identity, self._tenant]).encode()).hexdigest()

    def _sign(self) -> AuthRequest:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

        path = self._directory / KEY_FILE
        if not path.exists():
            _create(path)
        try:
            key = form.load_pem_private_key(path.read_bytes(), None)
        except (ValueError, TypeError) as error:
            raise UpdaterError(f"The device key {path} cannot be used: {error}.") from error
        if not isinstance(key, Ed25519PrivateKey):
            raise UpdaterError(f"The device key {path} is not of a kind that this version can use (Ed25519).")
        public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()
        asked = {"id_data": self.identity, "pubkey": public}
        if self._tenant:
            asked["tenant_token"] = self._tenant
        body = json.dumps(asked)
        request = AuthRequest(body, base64.b64encode(key.sign(body.encode())).decode())
        kept = {"about": self._about(), "body": request.body, "signature": request.signature}
        write_private(self._directory / REQUEST_FILE, json.dumps(kept).encode())
        return request


def _create(path: Path) -> None:
    from cryptography.hazmat.primitives import serialization as form
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    key = Ed25519PrivateKey.generate()
    write_private(path, key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))


def write_private(path: Path, content: bytes) -> None:
    """Replace a file that only its owner may read, whole or not at all."""
    fresh = path.with_suffix(".new")
    fd = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    try:
        os.write(fd, content)
        os.fsync(fd)
    finally:
        os.close(fd)
    fresh.replace(path)
    flush_directory(path.parent)
