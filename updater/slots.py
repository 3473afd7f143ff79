# SPDX-License-Identifier: Apache-2.0
"""The two slots: which one runs, and the block devices behind them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
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
        return SlotWriter(self.devices[slot])


class SlotWriter:
    """Writes one image into a slot from its first byte on, then flushes it and reads it back.

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
        self._pending = bytearray()

    def __enter__(self) -> SlotWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        os.close(self._fd)

    def write(self, data: bytes) -> None:
        """Append `data`.  What goes to the device is large and aligned, so that no block is written twice."""
        self._pending += data
        while len(self._pending) >= CHUNK:
            self._write(CHUNK)

    def flush(self) -> None:
        """Return once everything written is on the medium."""
        self._write(len(self._pending))
        os.fsync(self._fd)

    def _write(self, size: int) -> None:
        if self.written + size > self.capacity:
            raise InstallRefused(f"The slot {self.device} ends at byte {self.capacity}, and there is more to write.")
        view = memoryview(bytes(self._pending[:size]))
        del self._pending[:size]
        while view:
            done = os.write(self._fd, view)
            self.written += done
            view = view[done:]

    def read_back(self) -> str:
        """The SHA-256 of what the medium holds where the image was written, past every cache of this system."""
        os.posix_fadvise(self._fd, 0, 0, os.POSIX_FADV_DONTNEED)
        total = hashlib.sha256()
        for chunk in self._chunks():
            total.update(chunk)
        return total.hexdigest()

    def _chunks(self) -> Iterator[bytes]:
        place = 0
        while place < self.written:
            chunk = os.pread(self._fd, min(CHUNK, self.written - place), place)
            if not chunk:
                raise UpdaterError(f"The slot {self.device} ended at byte {place} while it was read back.")
            place += len(chunk)
            yield chunk
