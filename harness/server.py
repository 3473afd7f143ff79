# SPDX-License-Identifier: Apache-2.0
"""The update server as the harness sees it: a program beside it, and Mender's management API.

Any server that speaks that API can stand in its place; nothing of the server's code is imported.
"""

from __future__ import annotations

import json
import secrets
import select
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import requests

from harness.board import HOST_FOR_GUESTS
from harness.clock import Deadline, poll
from harness.errors import HostProblem
from harness.judge import ServerRecord
from harness.process import Process
from images.run import run

START_SECONDS = 30.0
ANSWER_SECONDS = 30.0
USER = "bootproof"
API = "/api/management/v1"
FINISHED = 422  # what is asked of a deployment that has ended


class Server:
    """A running server with one user; it goes on from `state`, if that is a folder that `save` has made.

    Raises (from every method):
        HostProblem: the server does not answer, or refuses.
    """

    def __init__(self, folder: Path, *, board_host: str = HOST_FOR_GUESTS, state: Path | None = None) -> None:
        self.folder = folder
        if state is not None:
            shutil.copytree(state, folder / "server")
        password = secrets.token_urlsafe(16)
        start = [sys.executable, "-m", "server_stub", "start", "--dir", str(folder / "server"), "--json"]
        start += ["--laboratory", "--listen", "127.0.0.1:0", "--host", board_host]
        self._process = Process(start, stderr=folder / "server.log", stdout=subprocess.PIPE)
        self._http = requests.Session()
        try:
            self._begin(folder, password)
        except BaseException:
            self.close()
            raise

    def _begin(self, folder: Path, password: str) -> None:
        """Wait until the server listens, and log in to it."""
        readable, _, _ = select.select([self._process.stdout], [], [], START_SECONDS)
        line = self._process.stdout.readline() if readable else b""
        if not line:
            raise HostProblem(f"The server did not start: {self._process.said()}", "See server.log in the run folder.")
        ready = json.loads(line)
        self.url: str = ready["url"]
        # A server that shows boards a wrong certificate spares who asks for it by this name.
        self._management = self.url.replace("127.0.0.1", "localhost")
        self.ca = Path(ready["ca"])
        user = f"{USER}-{secrets.token_hex(4)}"  # one that no state holds
        self._add_user(folder, user, password)
        self._http.verify = str(self.ca)
        self._http.trust_env = False
        token = self._call("POST", "/useradm/auth/login", auth=(user, password)).text
        self._http.headers["Authorization"] = f"Bearer {token.strip()}"

    @property
    def port(self) -> int:
        return int(self.url.rsplit(":", 1)[1])

    def close(self) -> None:
        """Ask the server to end."""
        self._http.close()
        self._process.terminate()

    def save(self, into: Path) -> None:
        """Keep all that the server knows in a new folder, as it is at this moment."""
        with self._process.held():
            shutil.copytree(self.folder / "server", into)

    def accept(self, deadline: Deadline) -> str:
        """Accept the device that asks to be let in, as soon as it does; returns its id."""

        def pending() -> dict[str, Any] | None:
            devices = self._call("GET", "/devices?status=pending", version="v2/devauth").json()
            return devices[0] if devices else None

        device = poll(pending, deadline, every=0.1)
        if device is None:
            raise HostProblem(f"No device asked to be let in within {deadline.seconds:.0f} s.", "See the console log.")
        one = device["auth_sets"][0]["id"]
        path = f"/devices/{device['id']}/auth/{one}/status"
        self._call("PUT", path, version="v2/devauth", json={"status": "accepted"})
        return str(device["id"])

    def upload(self, artifact: Path) -> str:
        """Bring an artifact to the server, once; returns its id there."""
        with artifact.open("rb") as file:
            reply = self._call("POST", "/deployments/artifacts", files={"artifact": (artifact.name, file)})
        return reply.headers["Location"].rsplit("/", 1)[1]

    def deploy(self, name: str, artifact_name: str, device: str) -> str:
        """Deploy an artifact to one device; returns the deployment's id."""
        wanted = {"name": name, "artifact_name": artifact_name, "devices": [device]}
        reply = self._call("POST", "/deployments/deployments", json=wanted)
        return reply.headers["Location"].rsplit("/", 1)[1]

    def abort(self, deployment: str) -> bool:
        """Take a deployment back; False if it has ended already."""
        path = f"/deployments/deployments/{deployment}/status"
        reply = self._call("PUT", path, allow=(FINISHED,), json={"status": "aborted"})
        return reply.status_code != FINISHED

    def record(self, deployment: str, device: str) -> ServerRecord:
        """What the server was told about a deployment, in order."""
        for entry in self._call("GET", f"/deployments/deployments/{deployment}/devices").json():
            if entry["id"] == device:
                history = tuple(step["status"] for step in entry.get("history", ()))
                return ServerRecord(entry["status"], history, entry.get("finished"))
        return ServerRecord(None)

    def last_poll(self, device: str) -> str:
        """When the device last asked for work; empty if it never did."""
        return str(self._call("GET", f"/devices/{device}", version="v2/devauth").json().get("check_in_time") or "")

    def artifact_name(self, device: str) -> str | None:
        """The name of what runs, as the device's inventory has it; None if the device has never said."""
        return self.attributes(device).get("artifact_name")

    def attributes(self, device: str) -> dict[str, str]:
        """The device's inventory, as it has last sent it."""
        attributes = self._call("GET", f"/inventory/devices/{device}").json().get("attributes", ())
        return {str(one["name"]): str(one["value"]) for one in attributes}

    def log(self, deployment: str, device: str) -> str:
        """The deployment log that the device has sent."""
        return self._call("GET", f"/deployments/deployments/{deployment}/devices/{device}/log").text

    def journal(self, after: int = 0) -> list[dict[str, Any]]:
        """What devices asked for, in order (laboratory route)."""
        found: list[dict[str, Any]] = self._call("GET", f"/lab/journal?after={after}").json()
        return found

    def inject(self, *rules: Mapping[str, Any]) -> None:
        """From now on these rules say what the server does wrong, in this order, and no others (laboratory route)."""
        self._call("PUT", "/lab/faults", json=list(rules))

    def heal(self) -> None:
        """The server does nothing wrong any more."""
        self._call("DELETE", "/lab/faults")

    def fired(self) -> tuple[int, ...]:
        """How often each rule has had its effect on a device, in the order in which they were given."""
        return tuple(one["fired"] for one in self._call("GET", "/lab/faults").json())

    def _add_user(self, folder: Path, user: str, password: str) -> None:
        secret = folder / "password"
        secret.write_text(password)
        secret.chmod(0o600)
        add = [sys.executable, "-m", "server_stub", "user", "add", user, "--password-stdin"]
        try:
            run([*add, "--dir", folder / "server"], stdin=secret)
        finally:
            secret.unlink()

    def _call(
        self, method: str, path: str, *, version: str = "", allow: tuple[int, ...] = (), **options: Any
    ) -> requests.Response:
        base = f"/api/management/{version}" if version else API
        try:
            reply = self._http.request(method, self._management + base + path, timeout=ANSWER_SECONDS, **options)
        except requests.RequestException as error:
            raise HostProblem(f"The server does not answer: {error}", "See server.log in the run folder.") from error
        if not reply.ok and reply.status_code not in allow:
            raise HostProblem(f"The server refused {method} {path} with {reply.status_code}: {reply.text[:200]}")
        return reply
