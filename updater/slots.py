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
        if not self.devices:
            raise UpdaterError(
                "No slots are configured, so no system can be installed; set RootfsPartA and RootfsPartB."
            )
        root = Path("/").stat().st_dev
        for slot, device in self.devices.items():
            if device.exists() and device.stat().st_rdev == root:
                return slot
        raise UpdaterError("The running root file system is in neither slot; check RootfsPartA and RootfsPartB.")

    def writer(self, slot: str, start: int = 0, *, skip_unchanged: bool = False) -> SlotWriter:
        """Opens a slot for writing; see SlotWriter."""
        if slot not in self.devices:
            raise InstallRefused(f"No device is configured for slot {slot}; set RootfsPart{slot.upper()}.")
        return SlotWriter(self.devices[slot], start, skip_unchanged=skip_unchanged)


class SlotWriter:
    """Writes one image into a slot from byte `start` on, then flushes it and compares it with the medium.

    Blocks are large and aligned, so that nothing is written twice.  What was written is remembered as a CRC-32 of each
    block: the comparison looks for a medium that fails, not for an adversary, and a stronger sum would double the time.
    With `skip_unchanged`, a block that the slot holds already is not written again, which spares flash; `skipped`
    counts them.

    Raises (when opened):
        InstallRefused: the slot is in use, or there is no such device.
        UpdaterError: what the slot should hold before `start` cannot be read.
    """

    def __init__(self, device: Path, start: int = 0, *, skip_unchanged: bool = False) -> None:
        self.device = device
        try:
            # O_EXCL on a block device fails while anything on it is mounted.
            self._fd = os.open(device, os.O_RDWR | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            raise InstallRefused(f"The slot {device} cannot be written: {error.strerror}.") from error
        self.capacity = os.lseek(self._fd, 0, os.SEEK_END)
        self.written = 0
        self.skipped = 0
        self._skip_unchanged = skip_unchanged
        self._block = memoryview(bytearray(CHUNK))
        self._filled = 0
        self._sums: list[int] = []
        try:
            self.go_on_at(start)
        except UpdaterError:
            os.close(self._fd)
            raise

    def __enter__(self) -> SlotWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._fd)

    def go_on_at(self, start: int) -> None:
        """Write on from byte `start`, as if what the medium holds before it had just been written.

        The start of a block that is not whole is written once more with the rest of the block.

        Raises:
            UpdaterError: the medium cannot be read so far.
        """
        if start > self.capacity:
            raise UpdaterError(f"The slot {self.device} ends at byte {self.capacity}, before byte {start}.")
        self.written = self._filled = 0
        self._sums.clear()
        self._forget_cached()
        while self.written + CHUNK <= start:
            self._sums.append(zlib.crc32(self.content(self.written, CHUNK)))
            self.written += CHUNK
        rest = start - self.written
        if rest:
            self._block[:rest] = self.content(self.written, rest)
            self._filled = rest

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

    def checkpoint(self) -> int:
        """Make durable what has been written, and return how many bytes that is; an unfinished block waits."""
        self._sync()
        return self.written

    def flush(self) -> None:
        """Return once everything written is on the medium."""
        if self._filled:
            self._write_block()
        self._sync()

    def content(self, offset: int, size: int) -> bytes:
        """`size` bytes of the slot from byte `offset` on.

        Raises:
            UpdaterError: they cannot be read.
        """
        try:
            data = os.pread(self._fd, size, offset)
        except OSError as error:
            raise UpdaterError(f"The slot {self.device} cannot be read at byte {offset}: {error.strerror}.") from error
        if len(data) != size:
            raise UpdaterError(f"The slot {self.device} ends at byte {offset + len(data)}, and there should be more.")
        return data

    def fingerprint(self, end: int) -> int:
        """A CRC-32 that stands for all whole blocks before byte `end`."""
        return zlib.crc32(b"".join(one.to_bytes(4, "little") for one in self._sums[: end // CHUNK]))

    def read_back(self) -> None:
        """Compare the medium with what was written, past every cache of this system.

        Raises:
            UpdaterError: it does not hold what was written.
        """
        self._forget_cached()
        place = 0
        for number, wanted in enumerate(self._sums):
            block = os.pread(self._fd, min(CHUNK, self.written - place), place)
            if zlib.crc32(block) != wanted:
                raise UpdaterError(f"The slot {self.device} does not hold what was written to it (block {number}).")
            place += len(block)

    def _forget_cached(self) -> None:
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)

    def _sync(self) -> None:
        """The one place where the slot is flushed."""
        os.fsync(self._fd)

    def _write_block(self) -> None:
        block, place = self._block[: self._filled], self.written
        if place + len(block) > self.capacity:
            raise InstallRefused(f"The slot {self.device} ends at byte {self.capacity}, and there is more to write.")
        self._sums.append(zlib.crc32(block))
        self.written += len(block)
        self._filled = 0
        if self._skip_unchanged and os.pread(self._fd, len(block), place) == block:
            self.skipped += 1
            return
        while block:
            step = os.pwrite(self._fd, block, place)
            block, place = block[step:], place + step
