# SPDX-License-Identifier: Apache-2.0
"""The two slots: which one runs, and the block devices behind them."""

from __future__ import annotations

import os
import zlib
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType

from updater.errors import InstallRefused, UpdaterError

CHUNK = 1024 * 1024
OTHER = {"a": "b", "b": "a"}


@dataclass(frozen=True)
class Slots:
    """The devices of slot A and slot B."""

    devices: dict[str, Path]

    def running(self) -> str:
        """The slot whose file system is mounted as `/`.

        Raises:
            UpdaterError: it is neither.
        """
        root = Path("/").stat().st_dev
        for slot, device in self.devices.items():
            if device.exists() and device.stat().st_rdev == root:
                return slot
        raise UpdaterError("The running root file system is in neither slot; check RootfsPartA and RootfsPartB.")

    def writer(self, slot: str) -> SlotWriter:
        """Opens a slot for writing; see SlotWriter."""
        if slot not in self.devices:
            raise InstallRefused(f"No device is configured for slot {slot}; set RootfsPart{slot.upper()}.")
        return SlotWriter(self.devices[slot])


class SlotWriter:
    """Writes one image into a slot from its first byte on, then flushes it and compares it with the medium.

    Blocks are large and aligned, so that nothing is written twice.  What was written is remembered as a CRC-32 of each
    block: the comparison looks for a medium that fails, not for an adversary, and a stronger sum would double the time.

    Raises (when opened):
        InstallRefused: the slot is in use, or there is no such device.
    """

    def __init__(self, device: Path) -> None:
        self.device = device
        try:
            # O_EXCL on a block device fails while anything on it is mounted.
            self._fd = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            raise InstallRefused(f"The slot {device} cannot be written: {error.strerror}.") from error
        self.capacity = os.lseek(self._fd, 0, os.SEEK_END)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self.written = 0
        self._block = memoryview(bytearray(CHUNK))
        self._filled = 0
        self._sums: list[int] = []

    def __enter__(self) -> SlotWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._fd)

    def write(self, data: bytes) -> None:
        """Append `data`.

        Raises:
            InstallRefused: the slot is full.
        """
        rest = memoryview(data)
        while rest:
            part = rest[: CHUNK - self._filled]
            self._block[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            rest = rest[len(part) :]
            if self._filled == CHUNK:
                self._write_block()

    def flush(self) -> None:
        """Return once everything written is on the medium."""
        if self._filled:
            self._write_block()
        os.fsync(self._fd)

    def read_back(self) -> None:
        """Compare the medium with what was written, past every cache of this system.

        Raises:
            UpdaterError: it does not hold what was written.
        """
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        place = 0
        for number, wanted in enumerate(self._sums):
            block = os.pread(self._fd, min(CHUNK, self.written - place), place)
            if zlib.crc32(block) != wanted:
                raise UpdaterError(f"The slot {self.device} does not hold what was written to it (block {number}).")
            place += len(block)

    def _write_block(self) -> None:
        block = self._block[: self._filled]
        if self.written + len(block) > self.capacity:
            raise InstallRefused(f"The slot {self.device} ends at byte {self.capacity}, and there is more to write.")
        self._sums.append(zlib.crc32(block))
        self.written += len(block)
        self._filled = 0
        while block:
            block = block[os.write(self._fd, block) :]
