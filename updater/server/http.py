# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange with the server; retries are the caller's affair."""

from __future__ import annotations

import http.client
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from updater.errors import ServerError

TIMEOUT = 30.0  # seconds without a byte before a connection is given up
BODY_LIMIT = 4 * 1024 * 1024


@dataclass(frozen=True)
class Reply:
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


class Connector:
    """Opens connections to HTTP and HTTPS addresses, trusting the system's authorities and `extra_ca`.

    Raises (when made):
        ServerError: the certificate file cannot be used.
    """

    def __init__(self, extra_ca: Path | None = None, timeout: float = TIMEOUT) -> None:
        self.timeout = timeout
        self._context = ssl.create_default_context()
        if extra_ca is not None:
            try:
                self._context.load_verify_locations(extra_ca)
            except (OSError, ssl.SSLError) as error:
                raise ServerError(f"The server certificate {extra_ca} cannot be used: {error}.") from error

    def open(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """Send a request and return the answer's head; the body is still to be read, and the answer to be closed.

        Raises:
            ServerError: there was no answer.
        """
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = parts.hostname or "", parts.port
        except ValueError as error:
            raise ServerError(f"The address '{url}' cannot be used: {error}.") from error
        connection: http.client.HTTPConnection
        if parts.scheme == "https":
            connection = http.client.HTTPSConnection(host, port, timeout=self.timeout, context=self._context)
        else:
            connection = http.client.HTTPConnection(host, port, timeout=self.timeout)
        target = parts.path + (f"?{parts.query}" if parts.query else "")
        try:
            connection.request(method, target, body=body, headers=dict(headers))
            return Response(connection, connection.getresponse())
        except (OSError, ValueError, http.client.HTTPException) as error:
            connection.close()
            raise ServerError(f"The server at {host} did not answer: {error}.") from error


class Response:
    """An answer whose body is read by whoever asked."""

    def __init__(self, connection: http.client.HTTPConnection, answer: http.client.HTTPResponse) -> None:
        self._connection, self._answer = connection, answer
        self.status = answer.status
        self.headers = {name.lower(): value for name, value in answer.getheaders()}

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end.

        Raises:
            ServerError: the connection broke, or ended before the announced length.
        """
        try:
            return self._answer.read(size)
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"The connection to the server broke: {error}.") from error

    def close(self) -> None:
        self._answer.close()  # it owns the socket when the server ends the connection with it
        self._connection.close()

    def whole(self) -> Reply:
        """Read the body to its end and close."""
        try:
            body = self.read(BODY_LIMIT + 1)
            missing = self._answer.length
        finally:
            self.close()
        if len(body) > BODY_LIMIT:
            raise ServerError("The server's answer is larger than any that makes sense.", self.status)
        if missing:
            raise ServerError("The connection to the server ended in the middle of an answer.")
        return Reply(self.status, self.headers, body)
