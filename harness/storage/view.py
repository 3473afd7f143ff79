# SPDX-License-Identifier: Apache-2.0
"""A disk as it would be found: a read-only base image with extents over it.

Owns reading, hashing and materialising any part of such a disk.  Refuses to write to it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from harness.storage.extents import Extent, ExtentMap
from harness.storage.source import CHUNK, Sources

ZEROS: Final = bytes(CHUNK)


def layered(base: Path, extents: ExtentMap) -> ExtentMap:
    """The extents over the whole of a raw base image; what neither covers reads as zeros.

    Raises:
        OSError: the base does not exist or cannot be examined.
    """
    return extents.over(ExtentMap([Extent(0, base.stat().st_size, base, 0)]))


class DiskView:
    """The disk that a base image and the extents over it make; it has no end: past the last content are zeros.

    Args:
        base: a raw image; its size is taken now.
        extents: what lies over it.

    Raises:
        OSError: the base does not exist or cannot be examined.
    """

    def __init__(self, base: Path, extents: ExtentMap) -> None:
        self.base = base
        self.extents = extents
        self._content = layered(base, extents)

    def read(self, address: int, length: int) -> bytes:
        """The content of [address, address + length).

        Raises:
            ValueError: the address or the length is negative.
            EOFError, OSError: a file behind the disk has changed or cannot be read.
        """
        return b"".join(self._chunks(address, length))

    def digest(self, start: int, length: int) -> str:
        """SHA-256 of a part of the disk in hexadecimal; read in pieces of at most 1 MiB.

        Raises:
            As `read`.
        """
        total = hashlib.sha256()
        for chunk in self._chunks(start, length):
            total.update(chunk)
        return total.hexdigest()

    def write_to(self, path: Path, start: int, length: int) -> None:
        """Make (or replace) a sparse file of `length` bytes with the part of the disk that begins at `start`.

        Raises:
            As `read`; OSError also if the file cannot be written.
        """
        _check(start, length)
        with path.open("wb") as out, Sources() as sources:
            out.truncate(length)
            for extent in self._content.within(start, start + length):
                sources.copy(extent.source, extent.offset, extent.length, out.fileno(), extent.address - start)

    def _chunks(self, start: int, length: int) -> Iterator[bytes]:
        _check(start, length)
        at = start
        with Sources() as sources:
            for extent in self._content.within(start, start + length):
                yield from _zeros(extent.address - at)
                yield from sources.chunks(extent.source, extent.offset, extent.length)
                at = extent.end
        yield from _zeros(start + length - at)


def _check(start: int, length: int) -> None:
    if start < 0 or length < 0:
        raise ValueError(f"A part of a disk cannot begin at {start} and be {length} bytes long.")


def _zeros(length: int) -> Iterator[bytes]:
    while length > 0:
        yield ZEROS[:length]
        length -= CHUNK
