# SPDX-License-Identifier: Apache-2.0
"""The outside world as the updater sees it: time, programs, the system, and the mark strip.

Everything here is handed in as an argument, so that the rules can be run without a board.
"""

from __future__ import annotations

import mmap
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

MARK_SECTOR = 512
MARK_DEVICE = Path("/dev/marks")


class Clock(Protocol):
    """Time that only goes forward, in seconds."""

    def now(self) -> float: ...
    def sleep(self, seconds: float) -> None: ...


class SystemClock:
    """The machine's monotonic clock; with `scale` 0.01, a second passes in a hundredth of one (for laboratories)."""

    def __init__(self, scale: float = 1.0) -> None:
        self.scale = scale

    def now(self) -> float:
        return time.monotonic() / self.scale

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds * self.scale)


class Runner(Protocol):
    """Runs a program to its end and gives its standard output."""

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60.0) -> str: ...


class Marks(Protocol):
    """Where the names of the steps are written."""

    def put(self, name: str) -> None: ...


class NoMarks:
    """There is no mark strip: the usual case outside a laboratory."""

    def put(self, name: str) -> None:
        pass


class MarkStrip:
    """Writes one sector per step onto a block device, unbuffered, so that the step has its place among the writes.

    The sector holds `bootproof-mark`, a running number and the name, a line each, padded with zeros.  No flush is
    issued: a mark must not make anything durable that would not be so without it.
    """

    def __init__(self, device: Path = MARK_DEVICE) -> None:
        self._fd = os.open(device, os.O_WRONLY | os.O_DIRECT | os.O_CLOEXEC)
        self._sectors = os.lseek(self._fd, 0, os.SEEK_END) // MARK_SECTOR
        self._buffer = mmap.mmap(-1, mmap.PAGESIZE)  # unbuffered writes want aligned memory
        self._number = 0

    def put(self, name: str) -> None:
        text = f"bootproof-mark\n{self._number}\n{name}\n".encode()
        self._buffer[:MARK_SECTOR] = text[:MARK_SECTOR].ljust(MARK_SECTOR, b"\0")
        with memoryview(self._buffer) as whole, whole[:MARK_SECTOR] as sector:
            os.pwrite(self._fd, sector, self._number % self._sectors * MARK_SECTOR)
        self._number += 1


def find_marks(device: Path = MARK_DEVICE) -> Marks:
    """The mark strip if this device has one."""
    return MarkStrip(device) if device.exists() else NoMarks()
