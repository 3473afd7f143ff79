# SPDX-License-Identifier: Apache-2.0
"""A small record that is replaced in place and survives a power cut at any moment.

The file has two places of a fixed size.  Each holds a record with its length, its CRC-32 and a running number; a new
record goes to the place of the older one, and is there once it has been flushed.  So a cut leaves the old record or
the new one, a save is one write and one flush, and a full disk is no obstacle (ADR 8).
"""

from __future__ import annotations

import os
import struct
import zlib
from pathlib import Path

from updater.errors import StoreDamaged, StoreError

MAGIC = b"bootprf1"
HEAD = struct.Struct("<8sIIQ")  # magic, CRC-32 of the rest of the head and the record, bytes of the record, number
PLACE = 128 * 1024
MODE = 0o600  # an artifact's address may hold a secret


class RecordFile:
    """The file at `path`, made when the first record is written."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._doubtful: int | None = None  # a place whose flush failed: what is read there may not be on the medium

    def read(self) -> bytes | None:
        """The newest record that is whole; None if there has never been one.

        Raises:
            StoreError: there is a file, and no record in it is whole, or it cannot be read.
        """
        try:
            raw = self.path.read_bytes()
        except FileNotFoundError:
            return None
        except OSError as error:
            raise StoreError(f"{self.path} cannot be read: {error.strerror}.") from error
        found = max(filter(None, (_parse(raw, at) for at in (0, PLACE))), default=None)
        if found is None:
            said = f"{self.path} is damaged: none of its records is whole; `mender-update bootstrap` sets it aside."
            raise StoreDamaged(said, self.path)
        return found[1]

    def write(self, record: bytes) -> None:
        """Make `record` the newest one, durably.

        Raises:
            StoreError: it is too large, or cannot be written; the old record is still there.
        """
        if HEAD.size + len(record) > PLACE:
            raise StoreError(f"What is to be kept in {self.path} has grown beyond {PLACE} bytes.")
        try:
            if not self.path.exists() or not self._replace(record):
                write_durably(self.path, _rendered(record, 0).ljust(2 * PLACE, b"\0"), mode=MODE)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be written: {error.strerror}.") from error

    def set_aside(self) -> None:
        """Keep a copy of a damaged file for whoever wants to look at it; what is written next takes its place.

        Raises:
            StoreError: it cannot be kept.
        """
        try:
            write_durably(self.path.with_suffix(".damaged"), self.path.read_bytes(), mode=MODE)
        except OSError as error:
            raise StoreError(f"{self.path} is damaged and cannot be kept aside: {error.strerror}.") from error

    def remove(self) -> None:
        """Forget the record.

        Raises:
            StoreError: it is still there.
        """
        try:
            self.path.unlink(missing_ok=True)
            flush_directory(self.path.parent)
        except OSError as error:
            raise StoreError(f"{self.path} cannot be removed: {error.strerror}.") from error

    def _replace(self, record: bytes) -> bool:
        """Write to the place of the older record; False if no record is whole, so that the file is to be made anew."""
        fd = os.open(self.path, os.O_RDWR | os.O_CLOEXEC)
        try:
            raw = os.pread(fd, 2 * PLACE, 0)
            numbers = [found[0] if (found := _parse(raw, at)) else -1 for at in (0, PLACE)]
            if max(numbers) < 0:
                return False
            older = numbers.index(min(numbers)) if self._doubtful is None else self._doubtful
            self._doubtful = older
            content = memoryview(_rendered(record, max(numbers) + 1))
            at = older * PLACE
            while content:
                done = os.pwrite(fd, content, at)
                content, at = content[done:], at + done
            os.fdatasync(fd)
            self._doubtful = None
            return True
        finally:
            os.close(fd)


def _rendered(record: bytes, number: int) -> bytes:
    body = struct.pack("<IQ", len(record), number) + record
    return HEAD.pack(MAGIC, zlib.crc32(body), len(record), number) + record


def _parse(raw: bytes, at: int) -> tuple[int, bytes] | None:
    """The number of the record at `at`, and the record; None if it is not whole."""
    if len(raw) < at + HEAD.size:
        return None
    magic, checksum, length, number = HEAD.unpack_from(raw, at)
    record = raw[at + HEAD.size : at + HEAD.size + length]
    whole = magic == MAGIC and length <= PLACE and len(record) == length
    return (number, record) if whole and zlib.crc32(struct.pack("<IQ", length, number) + record) == checksum else None


def write_durably(path: Path, content: bytes, *, mode: int = 0o644) -> None:
    """Replace a file whole or not at all: written beside, flushed, renamed, the directory flushed.

    Raises:
        OSError: it cannot be written; the old content is still there.
    """
    beside = path.with_name(path.name + ".new")
    fd = os.open(beside, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, mode)
    try:
        rest = memoryview(content)
        while rest:
            rest = rest[os.write(fd, rest) :]
        os.fchmod(fd, mode)
        os.fsync(fd)
    finally:
        os.close(fd)
    beside.replace(path)
    flush_directory(path.parent)


def flush_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
