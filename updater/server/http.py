# SPDX-License-Identifier: Apache-2.0
"""One HTTP exchange with the server; retries are the caller's affair.

Each exchange has a connection of its own, so that none is open while the device sleeps.
"""

from __future__ import annotations

import http.client
import logging
import os
import re
import socket
import ssl
import urllib.parse
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

from updater.errors import BadAddress, ServerError
from updater.server.line import Line
from updater.server.proxy import DEFAULT_PORTS, Proxy, proxy_for

TIMEOUT = 30.0  # seconds without a byte before a connection is given up
EXCHANGE = 120.0  # seconds that a small exchange may take in all
SLOWEST = 1024  # bytes a second; a body that is sent gets its own time on top
BODY_LIMIT = 4 * 1024 * 1024
REDIRECTS = 5
REDIRECTING = (301, 302, 303, 307, 308)
SHOWN = 200  # characters of what went wrong
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Reply:
    """An answer that was read whole."""

    status: int
    headers: Mapping[str, str]  # names in lower case
    body: bytes


@dataclass(frozen=True)
class Address:
    """An http or https address, taken apart.  `named` is host and port as they are written in a request."""

    scheme: str
    host: str
    port: int
    named: str
    target: str

    @classmethod
    def parse(cls, url: str) -> Address:
        """Raises BadAddress: there can be no server there."""
        try:
            parts = urllib.parse.urlsplit(url)
            host, port = (parts.hostname or "").encode("idna").decode(), parts.port
        except ValueError as error:
            raise BadAddress(f"The address '{_plain(url)}' cannot be used: {error}.") from error
        if parts.scheme not in DEFAULT_PORTS or not host:
            raise BadAddress(f"The address '{_plain(url)}' cannot be used: it must begin with http:// or https://.")
        shown = f"[{host}]" if ":" in host else host
        named = shown + (f":{port}" if port else "")
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        return cls(parts.scheme, host, port or DEFAULT_PORTS[parts.scheme], named, target)


class Connector:
    """Opens connections to HTTP and HTTPS addresses, trusting the system's authorities and `extra_ca`.

    Args:
        timeout: seconds without a byte before a connection is given up.
        exchange: seconds that everything up to an answer's body may take in all, and a small body too.
        client: certificate and key that this device shows to servers.
        environment: where the proxies are named; the process's own if not given.

    Raises (when made):
        ServerError: a certificate or key file cannot be used.
    """

    def __init__(
        self,
        extra_ca: Path | None = None,
        timeout: float = TIMEOUT,
        *,
        exchange: float = EXCHANGE,
        skip_verify: bool = False,
        client: tuple[Path, Path] | None = None,
        environment: Mapping[str, str] | None = None,
    ) -> None:
        self.timeout, self._exchange = timeout, exchange
        self._environment = os.environ if environment is None else environment
        self._context = ssl.create_default_context()
        if extra_ca is not None:
            try:
                self._context.load_verify_locations(extra_ca)
            except (OSError, ValueError) as error:
                raise ServerError(f"The server certificate {extra_ca} cannot be used: {error}.") from error
        if client is not None:
            _show_client(self._context, *client)
        if skip_verify:
            self._context.check_hostname = False
            self._context.verify_mode = ssl.CERT_NONE
            log.warning("SkipVerify IS SET: whoever is on the line can pose as the server; not for use in the field")

    def open(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> Response:
        """Send a request and return the answer's head; the body is still to be read, and the answer to be closed.

        Redirects are not followed.

        Raises:
            ServerError: there was no answer.
        """
        address = Address.parse(url)
        proxy = proxy_for(address.scheme, address.host, address.port, self._environment)
        extra = {"Host": address.named, "Connection": "close"}
        target = address.target
        if proxy and address.scheme == "http":
            target = f"http://{address.named}{target}"
            extra |= {"Proxy-Authorization": proxy.authorization} if proxy.authorization else {}
        line = None
        try:
            line = self._line(address, proxy, len(body or b""))
            connection = http.client.HTTPConnection(address.host, address.port)
            connection.sock = cast(socket.socket, line)
            clean = {name: _plain(value) for name, value in {**headers, **extra}.items()}
            connection.request(method, target, body=body, headers=clean)
            return Response(line, connection.getresponse())
        except (OSError, ValueError, http.client.HTTPException) as error:  # no answer, or none in HTTP
            if line is not None:
                line.end()
            raise ServerError(f"The server at {address.host} did not answer: {_reason(error)}.") from error

    def fetch(self, url: str, headers: Mapping[str, str]) -> Response:
        """GET what may have moved: up to `REDIRECTS` redirects are followed, but none that gives TLS up.

        Raises:
            ServerError: there was no answer, or the redirects lead nowhere.
        """
        for _ in range(REDIRECTS + 1):
            response = self.open("GET", url, headers)
            target = response.headers.get("location")
            if response.status not in REDIRECTING or not target:
                return response
            response.close()
            status, before = response.status, urllib.parse.urlsplit(url).scheme
            try:
                url = urllib.parse.urljoin(url, target)
            except ValueError as error:
                raise ServerError(f"The redirect to '{target}' cannot be followed: {error}.", status) from error
            if before == "https" and not url.startswith("https://"):
                raise ServerError(
                    "The server redirects from https to an address without TLS, which is refused.", status
                )
        raise ServerError(f"The server redirects more than {REDIRECTS} times.", status)

    def _line(self, address: Address, proxy: Proxy | None, sending: int) -> Line:
        host, port = (proxy.host, proxy.port) if proxy else (address.host, address.port)
        line = Line(host, port, self.timeout, self._exchange + sending / SLOWEST)
        try:
            if proxy and address.scheme == "https":
                _tunnel(line, proxy, address)
            if address.scheme == "https":
                line.secure(self._context, address.host)
        except BaseException:
            line.end()
            raise
        return line


class Response:
    """An answer whose body is read by whoever asked."""

    def __init__(self, line: Line, answer: http.client.HTTPResponse) -> None:
        self._line, self._answer = line, answer
        self.status = answer.status
        self.headers: dict[str, str] = {}
        for name, value in answer.getheaders():  # one that is there twice is both, so that nobody takes it for one
            before = self.headers.get(name.lower())
            self.headers[name.lower()] = _plain(value) if before is None else f"{before}, {_plain(value)}"

    def lift(self) -> None:
        """The body is large: it may take as long as it needs, if only it keeps coming."""
        self._line.lift()

    def read(self, size: int) -> bytes:
        """What has come in, up to `size` bytes; empty at the end.

        Raises:
            ServerError: the connection broke or went silent, or ended before the announced length.
        """
        try:
            return self._answer.read1(size)
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServerError(f"The connection to the server broke: {_reason(error)}.") from error

    def close(self) -> None:
        self._answer.close()
        self._line.end()

    def whole(self) -> Reply:
        """Read the body to its end and close."""
        try:
            body = self._answer.read(BODY_LIMIT + 1)
            missing = self._answer.length
        except (OSError, ValueError, http.client.HTTPException) as error:
            raise ServerError(f"The connection to the server broke: {_reason(error)}.") from error
        finally:
            self.close()
        if len(body) > BODY_LIMIT:
            raise ServerError("The server's answer is larger than any that makes sense.", self.status)
        if missing:
            raise ServerError("The connection to the server ended in the middle of an answer.")
        return Reply(self.status, self.headers, body)


def _show_client(context: ssl.SSLContext, certificate: Path, key: Path) -> None:
    try:
        # Without a password of our own, OpenSSL would ask for one on the console, and wait.
        context.load_cert_chain(certificate, key, password="")
    except (OSError, ValueError) as error:
        raise ServerError(f"The client certificate {certificate} with key {key} cannot be used: {error}.") from error


def _tunnel(line: Line, proxy: Proxy, address: Address) -> None:
    """Have a proxy connect us to a server.  Raises ConnectionError: it does not."""
    shown = f"[{address.host}]" if ":" in address.host else address.host
    place = f"{shown}:{address.port}"
    lines = [f"CONNECT {place} HTTP/1.1", f"Host: {place}"]
    if proxy.authorization:
        lines.append(f"Proxy-Authorization: {proxy.authorization}")
    line.sendall("\r\n".join([*lines, "", ""]).encode())
    said = line.read_head().partition(b"\r\n")[0].decode("latin-1")
    if not re.fullmatch(r"HTTP/1\.\d 2\d\d(?: .*)?", said):
        raise ConnectionError(f"the proxy {proxy.host} answered '{_plain(said)}' when asked for a way there")


def _plain(text: str) -> str:
    """Text of others without what could begin a new header or colour a console."""
    return CONTROL.sub(" ", text).strip()


def _reason(error: Exception) -> str:
    said = _plain(str(error)) or type(error).__name__
    return said if len(said) <= SHOWN else said[:SHOWN] + "..."
