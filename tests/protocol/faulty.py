# SPDX-License-Identifier: Apache-2.0
"""A server on which things go wrong on request, and a client that shows what is really on the wire."""

import shutil
import signal
import socket
import ssl
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tests.protocol.conftest import MANAGEMENT, PASSWORD, Device, Operator, Server

FAULTS = f"{MANAGEMENT}/lab/faults"
JOURNAL = f"{MANAGEMENT}/lab/journal"


@dataclass
class Seen:
    """An answer as its bytes came, and how the connection ended: `open` (given up here), `closed`
    (in good order), `ended` (without TLS saying so) or `reset`."""

    status: int
    headers: dict[str, str]
    body: bytes
    end: str


@dataclass
class Faulty:
    """A server, its operator and one device that is let in, with an artifact to install."""

    server: Server
    operator: Operator
    write: Callable[..., Path]
    artifacts: dict[str, bytes] = field(default_factory=dict)

    def inject(self, *rules: dict[str, Any]) -> None:
        answer = self.operator.call("PUT", FAULTS, json=list(rules))
        assert answer.status_code == 204, answer.text

    def heal(self) -> None:
        assert self.operator.call("DELETE", FAULTS).status_code == 204

    def fired(self) -> list[int]:
        return [one["fired"] for one in self.operator.get(FAULTS)]

    def last(self) -> int:
        return max([one["seq"] for one in self.operator.get(JOURNAL)], default=0)

    def named(self, after: int) -> list[str | None]:
        """What the journal says went wrong with each request."""
        return [one["fault"] for one in self.operator.get(f"{JOURNAL}?after={after}")]

    def upload(self, name: str, **more: Any) -> str:
        """An artifact on the server; its id."""
        path = self.write(name, **more)
        answer = self.operator.upload(path)
        assert answer.status_code == 201, answer.text
        artifact = answer.headers["Location"].rpartition("/")[2]
        self.artifacts[artifact] = path.read_bytes()
        return artifact

    def device(self) -> Device:
        return Device.preauthorized(self.operator)

    def promised(self, **more: Any) -> tuple[Device, str, str]:
        """A device, the id of the artifact that is deployed to it, and the artifact's name."""
        name = f"wanted-{uuid.uuid4().hex[:8]}"
        artifact, device = self.upload(name, **more), self.device()
        self.operator.deploy(name, device.id)
        return device, artifact, name

    def link(self, **more: Any) -> tuple[str, bytes]:
        """A link to an artifact, and the artifact."""
        device, artifact, _ = self.promised(**more)
        return device.poll().json()["artifact"]["source"]["uri"], self.artifacts[artifact]

    def see(self, url: str, *, most: int | None = None, method: str = "GET", **headers: str) -> Seen:
        """Ask, and read until the connection ends, or until `most` bytes of the body have come."""
        parts = urlsplit(url if url.startswith("http") else self.server.url + url)
        lines = [f"{method} {parts.path}?{parts.query} HTTP/1.1", f"Host: {parts.netloc}"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        with socket.create_connection((str(parts.hostname), int(parts.port or 0)), timeout=60) as plain:
            context = ssl.create_default_context(cafile=self.server.ca) if parts.scheme == "https" else None
            line = Line(plain, context, str(parts.hostname))
            line.send("\r\n".join([*lines, "", ""]).encode())
            return _read(line, most)


class Line:
    """TLS (with a context) over a socket that is read here: Python's own shows a reset as an end."""

    def __init__(self, plain: socket.socket, context: ssl.SSLContext | None, name: str) -> None:
        self._plain = plain
        self._tls: ssl.SSLObject | None = None
        if context is None:
            return
        self._came, self._goes = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._came, self._goes, server_hostname=name)
        self._until_done(self._tls.do_handshake)

    def send(self, data: bytes) -> None:
        if self._tls is None:
            self._plain.sendall(data)
        else:
            self._until_done(partial(self._tls.write, data))

    def receive(self) -> bytes:
        """Empty once the other side has said that it has ended. Raises ConnectionError, if it ends without a word."""
        if self._tls is None:
            return self._plain.recv(65536)
        try:
            return bytes(self._until_done(partial(self._tls.read, 65536)))
        except ssl.SSLZeroReturnError:
            return b""

    def _until_done(self, step: Callable[[], Any]) -> Any:
        while True:
            try:
                result = step()
            except ssl.SSLWantReadError:
                self._flush()
                if not (data := self._plain.recv(65536)):
                    raise ConnectionAbortedError("the connection ended without a word") from None
                self._came.write(data)
            else:
                self._flush()
                return result

    def _flush(self) -> None:
        if data := self._goes.read():
            self._plain.sendall(data)


def _read(line: Line, most: int | None) -> Seen:
    came, end = bytearray(), "open"
    try:
        while most is None or b"\r\n\r\n" not in came or len(came.partition(b"\r\n\r\n")[2]) < most:
            if not (piece := line.receive()):
                end = "closed"
                break
            came += piece
    except ConnectionResetError:
        end = "reset"
    except ConnectionAbortedError:
        end = "ended"
    head, _, body = bytes(came).partition(b"\r\n\r\n")
    if not head:
        return Seen(0, {}, b"", end)
    first, *rest = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (one.partition(": ") for one in rest)}
    return Seen(int(first.split()[1]), headers, body, end)


@contextmanager
def faulty(prepared: Path, folder: Path, write: Callable[..., Path], *options: str) -> Iterator[Faulty]:
    """The server is at `folder`; it is a laboratory's."""
    server = Server(shutil.copytree(prepared, folder / "server"), options=("--laboratory", *options))
    server.start()
    try:
        # By this name the operator is shown no wrong certificate.
        by_name = server.url.replace("127.0.0.1", "localhost")
        answer = server.http.post(f"{by_name}{MANAGEMENT}/useradm/auth/login", auth=("operator", PASSWORD), timeout=30)
        assert answer.status_code == 200
        yield Faulty(server, _ByName(server, answer.text), write)
    finally:
        assert server.end(signal.SIGTERM) == 0


class _ByName(Operator):
    def call(self, method: str, path: str, **more: Any) -> Any:
        url = self.server.url.replace("127.0.0.1", "localhost") + path
        return self.server.http.request(
            method, url, headers={"Authorization": f"Bearer {self.token}"}, timeout=30, **more
        )
