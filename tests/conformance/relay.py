# SPDX-License-Identifier: Apache-2.0
"""What stands between updater and server: hands every exchange on, byte for byte, writes the ones that matter into
the journal, and makes those fail that the case wants to fail.

It ends TLS with the server's own certificate, which is good for every port of the loopback, and keeps the name by
which the updater asks.  So the links that the server gives lead through here too.
"""

from __future__ import annotations

import http.client
import json
import ssl
import sys
import threading
from collections.abc import Callable
from dataclasses import dataclass
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any
from urllib.parse import urlsplit

from tests.conformance.journal import HANDED_OUT, note, note_report

TIMEOUT = 30.0
OF_ONE_CONNECTION = {"connection", "transfer-encoding", "keep-alive"}


@dataclass
class Weather:
    """What the way to the server does to a case's exchanges."""

    journal: Path
    failing_status: str = ""
    failing_reports: int = 0  # so many are still to fail
    abort: Callable[[], None] | None = None  # they fail because this was called first
    download: bytes | None = None  # sent for the artifact; empty: there is none

    def must_fail(self, status: str) -> bool:
        if status != self.failing_status or self.failing_reports <= 0:
            return False
        self.failing_reports -= 1
        return True


class Relay:
    """A relay on a port of its own, until it is left."""

    def __init__(self, server_url: str, tls: Path, weather: Weather) -> None:
        arriving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        arriving.load_cert_chain(tls / "server.pem", tls / "server.key")
        leaving = ssl.create_default_context(cafile=tls / "ca.pem")
        handler = _handler(urlsplit(server_url).port or 0, leaving, weather)
        self._listener = _Listener(("127.0.0.1", 0), handler)
        # The handshake is left to the thread of its connection: one that hangs must not keep the others out.
        self._listener.socket = arriving.wrap_socket(
            self._listener.socket, server_side=True, do_handshake_on_connect=False
        )
        self.url = f"https://127.0.0.1:{self._listener.server_port}"

    def __enter__(self) -> Relay:
        threading.Thread(target=self._listener.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._listener.shutdown()
        self._listener.server_close()


class _Listener(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """An updater that is killed in the middle of an exchange is what many cases are about."""
        if not isinstance(sys.exception(), OSError):
            super().handle_error(request, client_address)


def _handler(port: int, leaving: ssl.SSLContext, weather: Weather) -> type[BaseHTTPRequestHandler]:
    class Handler(_Exchange):
        def onward(self) -> http.client.HTTPSConnection:
            return http.client.HTTPSConnection("127.0.0.1", port, timeout=TIMEOUT, context=leaving)

    Handler.weather = weather
    return Handler


class _Exchange(BaseHTTPRequestHandler):
    weather: Weather
    timeout = TIMEOUT

    def onward(self) -> http.client.HTTPSConnection:
        raise NotImplementedError

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the base class calls it so)
        """Say nothing."""

    def _exchange(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        path = urlsplit(self.path).path
        if path.startswith("/artifacts/") and self.weather.download is not None:
            self._answer(HTTPStatus.OK if self.weather.download else HTTPStatus.NOT_FOUND, self.weather.download, [])
        elif self.command == "PUT" and path.endswith("/status"):
            self._report(body)
        else:
            status = self._forward(body)
            if path.endswith("/deployments/next") and status == HTTPStatus.OK:
                note(self.weather.journal, HANDED_OUT)
            self._finish()

    do_GET = do_POST = do_PUT = do_PATCH = _exchange  # noqa: N815 (the base class looks for these names)

    def _report(self, body: bytes) -> None:
        status = str(json.loads(body)["status"])
        if self.weather.must_fail(status):
            if self.weather.abort is None:
                note_report(self.weather.journal, status, "broken")
                self.close_connection = True
                return
            self.weather.abort()
        note_report(self.weather.journal, status, str(self._forward(body)))
        self._finish()

    def _forward(self, body: bytes) -> int:
        """Ask the server and keep its answer for `_finish`: the journal must know before the updater does."""
        connection = self.onward()
        try:
            connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
            for name, value in self.headers.items():
                if name.lower() not in OF_ONE_CONNECTION:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            self._kept = answer.status, answer.read(), answer.getheaders()
            return answer.status
        finally:
            connection.close()

    def _finish(self) -> None:
        self._answer(*self._kept)

    def _answer(self, status: int, body: bytes, headers: list[tuple[str, str]]) -> None:
        self.send_response_only(status)
        for name, value in headers:
            if name.lower() not in OF_ONE_CONNECTION | {"content-length"}:
                self.send_header(name, value)
        if status != HTTPStatus.NO_CONTENT:
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
