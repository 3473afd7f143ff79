# SPDX-License-Identifier: Apache-2.0
"""The device API: every call that a device makes, with the token it needs, to whichever of its servers answers."""

from __future__ import annotations

import hashlib
import json
import logging
import urllib.parse
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

from updater.errors import DeploymentAborted, ServerError, UpdaterError
from updater.server.credentials import Credentials
from updater.server.deployment import Deployment, parse_deployment
from updater.server.http import Connector, Reply
from updater.server.retry import retry_after

__all__ = ["UNAUTHORIZED", "Deployment", "Session"]

API = "/api/devices"
NEXT = "deployments/device/deployments/next"
OK, NO_CONTENT, UNAUTHORIZED, NOT_FOUND, NOT_ALLOWED, CONFLICT = 200, 204, 401, 404, 405, 409
log = logging.getLogger(__name__)


class Session:
    """Talks to the first of its servers that lets the device in, and stays with it for as long as it answers.

    Args:
        servers: one address, or several in the order in which they are to be tried.
        v1_post: ask servers without the newer route as Mender 3.x does: all provides over the older route first.

    Raises (from every call):
        ServerError: no answer, not one that the protocol allows, or no key to prove oneself with.
    """

    def __init__(
        self, servers: str | Sequence[str], connector: Connector, credentials: Credentials, *, v1_post: bool = False
    ) -> None:
        addresses = [servers] if isinstance(servers, str) else servers
        self.servers = tuple(address.rstrip("/") for address in addresses)
        self.connector = connector
        self.credentials = credentials
        self._v1_post = v1_post
        self._current = 0
        self._token = ""
        self._inventory = ""  # digest of what the current server was told last

    @property
    def url(self) -> str:
        """The server that is asked now."""
        return self.servers[self._current]

    def ask_another(self) -> None:
        """Go on with the next of the servers that lets the device in.

        Raises:
            ServerError: none does.
        """
        self._authenticate(self._current + 1)

    def forget_token(self) -> None:
        """Authenticate anew at the next call."""
        self._token = ""

    def next_deployment(self, provides: Mapping[str, str], device_type: str) -> Deployment | None:
        """What is to be installed, or None."""
        flat = {**provides, "device_type": device_type}
        reply = self._call("POST", f"/v2/{NEXT}", {"device_provides": flat})
        if reply.status == NOT_FOUND and self._v1_post:
            reply = self._call("POST", f"/v1/{NEXT}", flat)
        if reply.status == NOT_FOUND:
            name = provides.get("artifact_name", "")
            query = urllib.parse.urlencode({"artifact_name": name, "device_type": device_type})
            reply = self._call("GET", f"/v1/{NEXT}?{query}")
        if reply.status == NO_CONTENT:
            return None
        return parse_deployment(_expect(reply, "asked for a deployment", OK).body)

    def status(self, deployment: str, status: str, substate: str = "") -> None:
        """Report how a deployment is going.

        Raises:
            DeploymentAborted: the server has taken it back.
        """
        body = {"status": status} | ({"substate": substate} if substate else {})
        reply = self._call_known("PUT", f"{_of(deployment)}/status", body)
        if reply.status == CONFLICT:
            raise DeploymentAborted(f"The server has aborted deployment {deployment}.")
        _expect(reply, f"reported '{status}'")

    def send_log(self, deployment: str, messages: Sequence[Mapping[str, str]]) -> None:
        """Upload a deployment's log: messages with `timestamp`, `level`, `message`.

        A log that is too large ends in a ServerError of status 413; sending it again would not help.
        """
        _expect(self._call_known("PUT", f"{_of(deployment)}/log", {"messages": list(messages)}), "sent a log")

    def send_inventory(self, attributes: Mapping[str, str | list[str]], *, force: bool = False) -> bool:
        """Replace what the server knows about this device; returns whether there was a need to.

        What this server was told last by this process is not told again, unless by `force`.
        """
        body = [{"name": name, "value": value} for name, value in sorted(attributes.items())]
        digest = hashlib.sha256(json.dumps(body).encode()).hexdigest()
        if digest == self._inventory and not force:
            return False
        reply = self._call("PUT", "/v1/inventory/device/attributes", body)
        if reply.status == NOT_ALLOWED:
            reply = self._call("PATCH", "/v1/inventory/device/attributes", body)
        _expect(reply, "sent the inventory")
        self._inventory = digest
        return True

    def _call(self, method: str, path: str, body: Any = None) -> Reply:
        """One authorised exchange.  A server that does not answer is replaced by the next, a refused token renewed."""
        if not self._token:
            self._authenticate(self._current)
        try:
            reply = self._exchange(method, path, body)
        except ServerError as error:
            if error.status is not None or len(self.servers) == 1:
                raise
            log.warning("%s", error)
            self._authenticate(self._current + 1)
            reply = self._exchange(method, path, body)
        if reply.status == UNAUTHORIZED:
            self._authenticate(self._current)
            reply = self._exchange(method, path, body)
            if reply.status == UNAUTHORIZED:
                self.forget_token()
        return reply

    def _call_known(self, method: str, path: str, body: Any) -> Reply:
        """As `_call`, for what not all servers need to know of: one that does not is not the one that announced it."""
        reply = self._call(method, path, body)
        for _ in self.servers[1:]:
            if reply.status != NOT_FOUND:
                break
            log.warning("%s does not know of this deployment", self.url)
            self.ask_another()
            reply = self._exchange(method, path, body)
        return reply

    def _exchange(self, method: str, path: str, body: Any) -> Reply:
        headers = {"Authorization": f"Bearer {self._token}"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        return self.connector.open(method, self.url + API + path, headers, data).whole()

    def _authenticate(self, first: int) -> None:
        """Get a token from one of the servers, beginning with number `first` and going round once.

        Raises:
            ServerError: none gave one; it is the error of the one that had most to say.
        """
        if not self.servers:
            raise ServerError("No server is configured, so there is none to ask.")
        self._token = ""
        errors = []
        for number in range(first, first + len(self.servers)):
            place = number % len(self.servers)
            try:
                token = self._ask_to_be_let_in(self.servers[place])
            except ServerError as error:
                errors.append(error)
                if len(self.servers) > 1:
                    log.warning("%s: %s", self.servers[place], error)
                continue
            if place != self._current:
                log.info("going on with the server %s", self.servers[place])
                self._current, self._inventory = place, ""  # what the other was told, this one need not know
            self._token = token
            return
        if self._current:
            self._current, self._inventory = 0, ""  # the first is the one that is preferred
        raise max(errors, key=lambda error: (error.retry_after is not None, error.status is not None))

    def _ask_to_be_let_in(self, server: str) -> str:
        try:
            request = self.credentials.request()
        except UpdaterError as error:  # as good as no server: an update on trial must come to its end all the same
            raise ServerError(str(error)) from error
        headers = {"Content-Type": "application/json", "X-MEN-Signature": request.signature}
        url = f"{server}{API}/v1/authentication/auth_requests"
        reply = self.connector.open("POST", url, headers, request.body.encode()).whole()
        if reply.status == UNAUTHORIZED:
            self.credentials.refused()
        token = _expect(reply, "asked to be let in", OK).body.strip()
        if not token or not token.isascii() or any(byte <= 0x20 or byte == 0x7F for byte in token):
            raise ServerError("The device asked to be let in, and what the server answered is not a token.")
        return token.decode()


def _of(deployment: str) -> str:
    return f"/v1/deployments/device/deployments/{urllib.parse.quote(deployment, safe='')}"


def _expect(reply: Reply, what: str, *allowed: int) -> Reply:
    if reply.status in (allowed or (OK, NO_CONTENT)):
        return reply
    wait = retry_after(reply.headers, datetime.now(UTC))
    raise ServerError(f"The device {what}, and the server answered {reply.status}.", reply.status, wait)
