# SPDX-License-Identifier: Apache-2.0
"""What this device proves itself with: the request to be let in, signed with its key.

The request holds no time and no nonce, so a signed one stays good for as long as identity and
key do.  It is kept, because loading the cryptography library costs a small device seconds at every start.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import logging
from dataclasses import dataclass
from pathlib import Path

from updater.errors import UpdaterError
from updater.server.keys import create_key, is_missing, load_key, write_private

KEY_FILE = "mender-agent.pem"
REQUEST_FILE = "auth-request.json"
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class AuthRequest:
    """A request's body and the base64 of its signature."""

    body: str
    signature: str


class Credentials:
    """The key and the signed request of one device, below `directory`; both made at first use, never half-written.

    Args:
        key: a key that was put on the device by its maker, instead of one that the device makes for itself.

    Raises (from `request`):
        UpdaterError: the key cannot be used.
    """

    def __init__(self, directory: Path, identity: str, tenant_token: str = "", key: Path | None = None) -> None:
        self.identity = identity
        self._directory, self._tenant = directory, tenant_token
        self._key, self._may_create = key or directory / KEY_FILE, key is None
        self._request: AuthRequest | None = None
        self._kept = False
        self._refused = False

    def request(self) -> AuthRequest:
        """The signed request: the kept one if it is about this very identity and key."""
        if self._request is None and not self._refused:
            self._request = self._load()
            self._kept = self._request is not None
        if self._request is None:
            self._request = self._sign()
        return self._request

    def refused(self) -> None:
        """The server did not take the request; one that was kept is signed anew, once."""
        if self._kept:
            with contextlib.suppress(OSError):
                (self._directory / REQUEST_FILE).unlink(missing_ok=True)
            self._request, self._kept, self._refused = None, False, True

    def _load(self) -> AuthRequest | None:
        try:
            kept = json.loads((self._directory / REQUEST_FILE).read_bytes())
            fits = kept["about"] == self._about()
            return AuthRequest(str(kept["body"]), str(kept["signature"])) if fits else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    def _about(self) -> str:
        """What a request depends on, as one digest."""
        key = self._key.read_bytes()
        return hashlib.sha256(key + json.dumps([self.identity, self._tenant]).encode()).hexdigest()

    def _sign(self) -> AuthRequest:
        if is_missing(self._key):
            if not self._may_create:
                raise UpdaterError(f"The device key {self._key} that AuthPrivateKey names is missing or empty.")
            if self._key.exists():
                log.warning("the device key %s is empty, as a power cut can leave it; a new one is made", self._key)
            create_key(self._key)
        key = load_key(self._key)
        asked = {"id_data": self.identity, "pubkey": key.public}
        if self._tenant:
            asked["tenant_token"] = self._tenant
        body = json.dumps(asked)
        request = AuthRequest(body, base64.b64encode(key.sign(body.encode())).decode())
        kept = {"about": self._about(), "body": request.body, "signature": request.signature}
        try:
            write_private(self._directory / REQUEST_FILE, json.dumps(kept).encode())
        except UpdaterError as error:  # a full data partition must not keep a device from its server
            log.warning("the signed request is not kept: %s", error)
        return request
