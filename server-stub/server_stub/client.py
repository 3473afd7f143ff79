# SPDX-License-Identifier: Apache-2.0
"""A server as its operator's commands reach it: over the management API, wherever it runs."""

import json
import os
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import requests
from requests_toolbelt import MultipartEncoder

from server_stub.clock import now
from server_stub.domain import tokens
from server_stub.errors import BadInput, HostProblem
from server_stub.home import Home

ADDRESS = re.compile(r"https?://[^\s/]+(/\S*)?")
TOKEN_VARIABLE = "BOOTPROOF_TOKEN"
# Seconds to wait for an answer; an upload takes as long as it takes.
PATIENCE = 60
MANAGEMENT = "/api/management/v1"
DEVICES = "/api/management/v2/devauth/devices"
ARTIFACTS = f"{MANAGEMENT}/deployments/artifacts"
DEPLOYMENTS = f"{MANAGEMENT}/deployments/deployments"


@dataclass(frozen=True, slots=True)
class Client:
    """Raises (from every call) BadInput for what the server refuses, HostProblem when it does not answer."""

    url: str
    http: requests.Session

    def call(self, method: str, path: str, **more: Any) -> requests.Response:
        try:
            answer = self.http.request(method, self.url + path, timeout=PATIENCE, **more)
        except requests.RequestException as problem:
            raise HostProblem(f"The server at {self.url} does not answer ({_reason(problem)}).") from None
        if not answer.ok:
            raise BadInput(_sentence(answer))
        return answer

    def accept(self, devices: list[str] | None) -> list[str]:
        """Accept these devices, or all that wait; those that were accepted."""
        body = {"devices": devices} if devices is not None else {}
        accepted: list[str] = []
        while some := self.call("POST", f"{DEVICES}/accept", json=body).json()["accepted"]:
            accepted += some
        return accepted

    def upload(self, path: Path, description: str) -> dict[str, Any]:
        """Bring an artifact; what the server says of it."""
        try:
            with path.open("rb") as file:
                # Sent while it is read: an artifact may be larger than this machine's memory.
                parts = {"description": description, "artifact": (path.name, file, "application/octet-stream")}
                body = MultipartEncoder(parts)
                kind = {"Content-Type": body.content_type}
                location = self.call("POST", ARTIFACTS, data=body, headers=kind).headers["Location"]
        except OSError as problem:
            raise BadInput(f"{path} cannot be read ({problem.strerror}): name a file that is an artifact.") from None
        except BadInput as refusal:
            raise BadInput(f"{path}: {refusal}") from None
        found: dict[str, Any] = self.call("GET", location).json()
        return found

    def deploy(self, order: dict[str, Any]) -> str:
        return self.call("POST", DEPLOYMENTS, json=order).headers["Location"].rpartition("/")[2]

    def deployment(self, deployment: str) -> dict[str, Any]:
        found: dict[str, Any] = self.call("GET", f"{DEPLOYMENTS}/{quote(deployment, safe='')}").json()
        return found


def beside(directory: Path, database: str | None) -> Client:
    """The server that runs on a directory, for who owns that: its key is all the permission there is."""
    home = Home(directory.absolute())
    try:
        told = json.loads(home.address.read_text())
        url, ca = str(told["url"]), Path(told["ca"]) if told["ca"] else None
    except FileNotFoundError:
        raise BadInput(f"No server has run on {directory}: start one, or give --server.") from None
    except (OSError, ValueError, TypeError, KeyError):
        raise HostProblem(f"{home.address} cannot be read: start the server again.") from None
    # Only here: a server elsewhere is reached without any database.
    from server_stub.storage import settings
    from server_stub.storage.database import Database, explained, read_url, sqlite_at

    place = read_url(database) if database else sqlite_at(home.root)
    if not database and not Path(str(place.database)).exists():
        raise BadInput(f"{directory} has no database: give --database if the server's lies elsewhere.")
    kept = Database(place)
    try:
        with explained(place), kept.reading() as connection:
            token = tokens.for_local(settings.secret(connection), now())
    finally:
        kept.close()
    return connect(url, ca, token)


def elsewhere(url: str, ca: Path | None, token_file: Path | None) -> Client:
    """A server by its address, with a token from a file or the environment."""
    if not ADDRESS.fullmatch(url):
        raise BadInput(f"{url[:80]!r} is not the address of a server: give --server as https://ota.lab.example:8443.")
    try:
        token = (token_file.read_text() if token_file else os.environ.get(TOKEN_VARIABLE, "")).strip()
    except OSError as problem:
        raise BadInput(f"{token_file} cannot be read ({problem.strerror}): give --token-file a token's file.") from None
    except UnicodeDecodeError:
        token = "\n"
    if not token:
        raise BadInput(f"The server wants a token: give --token-file, or set {TOKEN_VARIABLE}.")
    if not (token.isascii() and token.isprintable()):
        raise BadInput(f"{token_file or TOKEN_VARIABLE} holds no token: a token is one line of letters and digits.")
    if ca is not None and not ca.is_file():
        raise BadInput(f"{ca} is no file: give --ca the certificate authority of the server.")
    return connect(url.rstrip("/"), ca, token)


def connect(url: str, ca: Path | None, token: str) -> Client:
    http = requests.Session()
    http.headers["Authorization"] = f"Bearer {token}"
    # Neither a proxy nor a .netrc of the environment may come between.
    http.trust_env = False
    http.verify = str(ca) if ca else True
    return Client(url, http)


def _sentence(answer: requests.Response) -> str:
    try:
        return str(answer.json()["error"])
    except (ValueError, KeyError, TypeError):
        return f"The server answers {answer.status_code} {answer.reason}."


def _reason(problem: requests.RequestException) -> str:
    if isinstance(problem, requests.exceptions.SSLError):
        return "its certificate is not one that is trusted here: give --ca"
    if isinstance(problem, requests.Timeout):
        return "no answer in time: try again later"
    return "no connection: is it running, and is this its address?"
