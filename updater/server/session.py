# SPDX-License-Identifier: Apache-2.0
"""The device API: every call that a device makes, with the token it needs."""

from __future__ import annotations

import json
import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from updater.errors import DeploymentAborted, ServerError
from updater.server.credentials import Credentials
from updater.server.http import Connector, Reply

API = "/api/devices"
LONGEST_WAIT = 24 * 3600.0  # seconds; a server that asks for more is asked again all the same
OK, NO_CONTENT, UNAUTHORIZED, NOT_FOUND, CONFLICT = 200, 204, 401, 404, 409


@dataclass(frozen=True)
class Deployment:
    """What the server wants installed."""

    id: str
    artifact_name: str
    uri: str
    device_types: tuple[str, ...]


class Session:
    """Talks to one server as one device.

    Raises (from every call):
        ServerError: no answer, or not one that the protocol allows.
    """

    def __init__(self, url: str, connector: Connector, credentials: Credentials) -> None:
        self.url = url.rstrip("/")
        self.connector = connector
        self.credentials = credentials
        self._token = ""

    def forget_token(self) -> None:
        """Authenticate anew at the next call."""
        self._token = ""

    def next_deployment(self, provides: Mapping[str, str], device_type: str) -> Deployment | None:
        """What is to be installed, or None."""
        asked = {"device_provides": {"device_type": device_type, **provides}}
        reply = self._call("POST", "/v2/deployments/device/deployments/next", asked)
        if reply.status == NOT_FOUND:  # servers without the newer route
            name = provides.get("artifact_name", "")
            query = urllib.parse.urlencode({"artifact_name": name, "device_type": device_type})
            reply = self._call("GET", f"/v1/deployments/device/deployments/next?{query}")
        if reply.status == NO_CONTENT:
            return None
        return _deployment(_expect(reply, OK, "asked for a deployment"))

    def status(self, deployment: str, status: str, substate: str = "") -> None:
        """Report how a deployment is going.

        Raises:
            DeploymentAborted: the server has taken it back.
        """
        body = {"status": status} | ({"substate": substate} if substate else {})
        reply = self._call("PUT", f"/v1/deployments/device/deployments/{deployment}/status", body)
        if reply.status == CONFLICT:
            raise DeploymentAborted(f"The server has aborted deployment {deployment}.")
        _expect(reply, NO_CONTENT, f"reported '{status}'")

    def send_log(self, deployment: str, messages: Sequence[Mapping[str, str]]) -> None:
        """Upload a deployment's log: messages with `timestamp`, `level`, `message`."""
        reply = self._call("PUT", f"/v1/deployments/device/deployments/{deployment}/log", {"messages": list(messages)})
        _expect(reply, NO_CONTENT, "sent a log")

    def send_inventory(self, attributes: Mapping[str, str | list[str]]) -> None:
        """Replace what the server knows about this device."""
        body = [{"name": name, "value": value} for name, value in sorted(attributes.items())]
        _expect(self._call("PUT", "/v1/inventory/device/attributes", body), OK, "sent the inventory")

    def _call(self, method: str, path: str, body: Any = None) -> Reply:
        """One authorised exchange; a token that is no longer taken is replaced once."""
        if not self._token:
            self._authenticate()
        reply = self._exchange(method, path, body)
        if reply.status == UNAUTHORIZED:
            self._authenticate()
            reply = self._exchange(method, path, body)
        return reply

    def _exchange(self, method: str, path: str, body: Any) -> Reply:
        headers = {"Authorization": f"Bearer {self._token}"}
        data = None
        if body is not None:
            data = json.dumps(body).encode()
            headers["Content-Type"] = "application/json"
        return self.connector.open(method, self.url + API + path, headers, data).whole()

    def _authenticate(self) -> None:
        self._token = ""
        request = self.credentials.request()
        headers = {"Content-Type": "application/json", "X-MEN-Signature": request.signature}
        url = f"{self.url}{API}/v1/authentication/auth_requests"
        reply = self.connector.open("POST", url, headers, request.body.encode()).whole()
        if reply.status == UNAUTHORIZED:
            self.credentials.refused()
        self._token = _expect(reply, OK, "asked to be let in").body.decode("ascii", "replace").strip()


def _expect(reply: Reply, status: int, what: str) -> Reply:
    if reply.status == status or (status in (OK, NO_CONTENT) and reply.status in (OK, NO_CONTENT)):
        return reply
    retry_after = reply.headers.get("retry-after", "")
    wait = min(float(retry_after), LONGEST_WAIT) if retry_after.isdecimal() else None
    raise ServerError(f"The device {what}, and the server answered {reply.status}.", reply.status, wait)


def _deployment(reply: Reply) -> Deployment:
    try:
        answer = json.loads(reply.body)
        artifact = answer["artifact"]
        types = tuple(artifact["device_types_compatible"])
        found = Deployment(answer["id"], artifact["artifact_name"], artifact["source"]["uri"], types)
    except (ValueError, KeyError, TypeError) as error:
        raise ServerError(f"The server's deployment cannot be understood: {error!r}.") from error
    if not all((found.id, found.artifact_name, found.uri)):
        raise ServerError("The server's deployment lacks its id, name or address.")
    return found
