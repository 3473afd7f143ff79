# SPDX-License-Identifier: Apache-2.0
"""The serial console: read all the time, kept with time stamps, searched with pexpect.

One thread owns the wire, because a console that nobody reads stops the board.
"""

from __future__ import annotations

import contextlib
import re
import socket
import threading
import time
from pathlib import Path

import pexpect
from pexpect.spawnbase import SpawnBase

from harness.clock import Deadline, poll
from harness.errors import GuestFault

KEY = b" "
CONNECT_SECONDS = 0.005  # between tries while QEMU starts
KEY_SECONDS = 0.02  # between keys: U-Boot looks for one once, and waits for none
UBOOT_PROMPT = b"=> "


class Console:
    """Connects to QEMU's serial socket and writes what comes to `transcript`, a time stamp before each line."""

    def __init__(self, path: Path, transcript: Path, deadline: Deadline) -> None:
        self._socket = _connected(path, deadline)
        self._changed = threading.Condition()
        self._received = bytearray()
        self._closed = False
        self._began = time.monotonic()
        self._transcript = transcript.open("ab", buffering=0)
        self._expecter = _Expecter(self)
        self._thread = threading.Thread(target=self._pump, name="console", daemon=True)
        self._thread.start()

    @property
    def text(self) -> bytes:
        """Everything the board has said since it was switched on."""
        with self._changed:
            return bytes(self._received)

    def expect(self, pattern: str, deadline: Deadline) -> re.Match[bytes]:
        """Wait for a pattern in what has not been searched yet.

        Raises:
            GuestFault: it did not come in time, or the board was switched off.
        """
        try:
            self._expecter.expect([pattern.encode()], timeout=deadline.remaining)
        except (pexpect.TIMEOUT, pexpect.EOF) as late:
            tail = self.text[-400:].decode("utf-8", "replace")
            raise GuestFault(
                f"The console did not show '{pattern}' within {deadline.seconds:.0f} s; it ends: {tail}"
            ) from late
        found = self._expecter.match
        assert isinstance(found, re.Match)
        return found

    def send(self, data: bytes) -> None:
        """Type on the console."""
        self._socket.sendall(data)

    def interrupt_uboot(self, deadline: Deadline) -> None:
        """Press a key until U-Boot, which is starting, shows its prompt.

        Raises:
            GuestFault: it did not in time.
        """
        place = len(self.text)

        def stopped() -> bool:
            self.send(KEY)
            return UBOOT_PROMPT in self.text[place:]

        if not poll(stopped, deadline, every=KEY_SECONDS):
            raise GuestFault(f"U-Boot did not show its prompt within {deadline.seconds:.0f} s.")
        self.expect(re.escape(UBOOT_PROMPT.decode()), deadline)

    def take(self, place: int, timeout: float) -> bytes:
        """What came after byte `place`, waiting up to `timeout` seconds for something.

        Raises:
            EOFError: the board is off and there is no more.
        """
        with self._changed:
            self._changed.wait_for(lambda: len(self._received) > place or self._closed, timeout)
            fresh = bytes(self._received[place:])
            if not fresh and self._closed:
                raise EOFError
            return fresh

    def close(self) -> None:
        """Hang up; safe to call twice."""
        with contextlib.suppress(OSError):
            self._socket.shutdown(socket.SHUT_RDWR)
        self._thread.join(5)
        self._socket.close()
        self._transcript.close()

    def _pump(self) -> None:
        line_start = True
        while True:
            try:
                chunk = self._socket.recv(65536)
            except OSError:
                chunk = b""
            with self._changed:
                self._received += chunk
                self._closed = not chunk
                self._changed.notify_all()
            if not chunk:
                return
            line_start = self._keep(chunk, line_start)

    def _keep(self, chunk: bytes, line_start: bool) -> bool:
        stamp = f"[{time.monotonic() - self._began:9.3f}] ".encode()
        for line in chunk.splitlines(keepends=True):
            self._transcript.write((stamp if line_start else b"") + line.replace(b"\r", b""))
            line_start = line.endswith(b"\n")
        return line_start


class _Expecter(SpawnBase):  # type: ignore[misc, type-arg, unused-ignore]
    """pexpect over what the console's thread has received."""

    def __init__(self, console: Console) -> None:
        super().__init__(timeout=30)
        self._console = console
        self._place = 0

    def read_nonblocking(self, size: int = 1, timeout: float | None = None) -> bytes:
        try:
            fresh = self._console.take(self._place, 30.0 if timeout is None or timeout < 0 else timeout)
        except EOFError as end:
            raise pexpect.EOF("The board is off.") from end
        if not fresh:
            raise pexpect.TIMEOUT("Nothing came.")
        fresh = fresh[:size]
        self._place += len(fresh)
        return fresh


def _connected(path: Path, deadline: Deadline) -> socket.socket:
    def connect() -> socket.socket | None:
        wire = socket.socket(socket.AF_UNIX)
        try:
            wire.connect(str(path))
        except OSError:
            wire.close()
            return None
        return wire

    wire = poll(connect, deadline, every=CONNECT_SECONDS)
    if wire is None:
        raise GuestFault("QEMU's serial line did not open.", "See qemu.log in the run folder.")
    return wire
