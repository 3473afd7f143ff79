# SPDX-License-Identifier: Apache-2.0
"""Write logs made by hand, in the format of QEMU's `blklogwrites`."""

import struct
from pathlib import Path

from harness.storage import encode

SECTOR = 512
FLUSH, DISCARD = 1, 4


def entry(sector: int, sectors: int, flags: int = 0, data: bytes = b"") -> bytes:
    return struct.pack("<QQQQ", sector, sectors, flags, 0).ljust(SECTOR, b"\0") + data


def write(sector: int, data: bytes = bytes(SECTOR)) -> bytes:
    return entry(sector, len(data) // SECTOR, 0, data)


def flag(flags: int, sector: int = 0, sectors: int = 0) -> bytes:
    return entry(sector, sectors, flags)


def step(strip: int, name: str, number: int = 0) -> bytes:
    """A mark on the strip that begins at sector `strip`."""
    return write(strip + number, encode(number, name))


def write_log(path: Path, *entries: bytes) -> None:
    head = struct.pack("<QQQI", 0x6A736677736872, 1, len(entries), SECTOR).ljust(SECTOR, b"\0")
    path.write_bytes(head + b"".join(entries))
