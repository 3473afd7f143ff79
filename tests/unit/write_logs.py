# SPDX-License-Identifier: Apache-2.0
"""Write logs made by hand, in the format of QEMU's `blklogwrites`."""

import struct
from pathlib import Path

from harness.storage import encode

SECTOR = 512
MAGIC = 0x6A736677736872
FLUSH, FUA, DISCARD, MARK = 1, 2, 4, 8


def superblock(entries: int, *, magic: int = MAGIC, version: int = 1, sector: int = SECTOR) -> bytes:
    return struct.pack("<QQQI", magic, version, entries, sector).ljust(SECTOR, b"\0")


def entry(sector: int, sectors: int, flags: int = 0, data: bytes = b"") -> bytes:
    return struct.pack("<QQQQ", sector, sectors, flags, 0).ljust(SECTOR, b"\0") + data


def write(sector: int, data: bytes = bytes(SECTOR), flags: int = 0) -> bytes:
    return entry(sector, len(data) // SECTOR, flags, data)


def flag(flags: int, sector: int = 0, sectors: int = 0) -> bytes:
    return entry(sector, sectors, flags)


def step(strip: int, name: str, number: int = 0) -> bytes:
    """A mark on the strip that begins at sector `strip`."""
    return write(strip + number, encode(number, name))


def write_log(path: Path, *entries: bytes) -> None:
    path.write_bytes(superblock(len(entries)) + b"".join(entries))
