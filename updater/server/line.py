# SPDX-License-Identifier: Apache-2.0
"""One TCP connection that is given up when it has gone silent, or when its time is over.

A peer that lost its power, or a box on the way that forgot the connection, sends nothing at all: without a bound the
device would wait for ever.
"""

from __future__ import annotations

import contextlib
import io
import socket
import ssl
import time
from collections.abc import Callable
from typing import Any

CHUNK = 65536
HEAD_LIMIT = 16384  # bytes of a proxy's answer
LEAST = 64  # bytes a second: slower than any line that a device is updated over


class Line:
    """A connection to `host`; every wait is bounded.

    Args:
        stall: seconds without a byte after which it is given up.
        limit: seconds from now after which it is given up in any case, until `lift` is called.

    Raises (from everything):
        OSError: the connection cannot be made, has broken, or was given up.
    """

    def __init__(self, host: str, port: int, stall: float, limit: float) -> None:
        self._stall = stall
        self._deadline: float | None = time.monotonic() + limit
        self._waited, self._came = 0.0, 0  # seconds spent in waiting for bytes, and how many they were
        self._socket = self._reach(host, port)

    def lift(self) -> None:
        """From now on only silence ends it, or a drip: less than LEAST bytes a second, while there is time to read."""
        self._deadline = None

    def sendall(self, data: bytes) -> None:
        # Not the socket's own sendall: its timeout is for the whole, and a slow line is not a dead one.
        rest = memoryview(data)
        while rest:
            self._bound()
            rest = rest[self._socket.send(rest[:CHUNK]) :]

    def receive_into(self, buffer: bytearray) -> int:
        """At least one byte, or 0 at the end."""
        self._bound()
        begun = time.monotonic()
        count = self._socket.recv_into(buffer)
        self._waited += time.monotonic() - begun
        self._came += count
        if self._waited >= self._stall:
            if self._came < LEAST * self._waited and self._deadline is None and count:
                raise TimeoutError(f"only {self._came} bytes came in {self._waited:.0f} s")
            self._waited, self._came = 0.0, 0
        return count

    def makefile(self, _mode: str) -> io.BufferedReader:
        """What comes in, as `http.client` wants it."""
        return io.BufferedReader(_Source(self.receive_into), CHUNK)

    def close(self) -> None:
        """Does nothing: `http.client` closes when it has the head, and the body is still to come.  See `end`."""

    def end(self) -> None:
        """Close for good."""
        self._socket.close()

    def read_head(self) -> bytes:
        """Read up to and including the next empty line, and not a byte more: another protocol may follow."""
        head, byte = bytearray(), bytearray(1)
        while not head.endswith(b"\r\n\r\n"):
            if len(head) >= HEAD_LIMIT or not self.receive_into(byte):
                raise ConnectionError("the proxy's answer does not end as it should")
            head += byte
        return bytes(head)

    def secure(self, context: ssl.SSLContext, name: str) -> None:
        """Go on under TLS with the server of that name."""
        self._bound()
        self._socket = context.wrap_socket(self._socket, server_hostname=name)

    def _reach(self, host: str, port: int) -> socket.socket:
        """Try all addresses of a host, in the order of the resolver."""
        failure: OSError = ConnectionError(f"no address of {host} is known")
        for family, kind, protocol, _, address in socket.getaddrinfo(host, port, type=socket.SOCK_STREAM):
            reached = socket.socket(family, kind, protocol)
            try:
                reached.settimeout(self._patience())
                _watch(reached, self._stall)
                reached.connect(address)
                return reached
            except OSError as error:
                reached.close()
                failure = error
        raise failure

    def _bound(self) -> None:
        self._socket.settimeout(self._patience())

    def _patience(self) -> float:
        if self._deadline is None:
            return self._stall
        left = self._deadline - time.monotonic()
        if left <= 0:
            raise TimeoutError("it took too long in all")
        return min(self._stall, left)


class _Source(io.RawIOBase):
    def __init__(self, receive_into: Callable[[Any], int]) -> None:
        self._receive_into = receive_into

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        return self._receive_into(buffer)


def _watch(reached: socket.socket, stall: float) -> None:
    """Let the kernel notice a dead peer while there is nothing to read, and while what was sent is not confirmed."""
    whole = max(1, round(stall))
    options = [
        (socket.IPPROTO_TCP, "TCP_NODELAY", 1),
        (socket.SOL_SOCKET, "SO_KEEPALIVE", 1),
        (socket.IPPROTO_TCP, "TCP_KEEPIDLE", max(1, whole // 3)),
        (socket.IPPROTO_TCP, "TCP_KEEPINTVL", max(1, whole // 3)),
        (socket.IPPROTO_TCP, "TCP_KEEPCNT", 3),
        (socket.IPPROTO_TCP, "TCP_USER_TIMEOUT", round(stall * 1000)),
    ]
    for level, name, value in options:
        if hasattr(socket, name):
            with contextlib.suppress(OSError):  # a help; the bound of every wait holds without it
                reached.setsockopt(level, getattr(socket, name), value)
