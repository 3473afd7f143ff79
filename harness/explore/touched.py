# SPDX-License-Identifier: Apache-2.0
"""What a board has read of its disk and written to it while it recovered, from QEMU's trace of its requests.

Two crash points that hold the same in every sector which a recovery read before it wrote it cannot be told apart by
that recovery; where they differ in nothing else that counts in the end, one boot decides both.  The idea of looking at
what a recovery reads is that of Vinter (Kalbfleisch and others, USENIX ATC 2022).
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final

from images.layout import SECTOR, Layout, Window

REQUEST: Final = re.compile(
    r"virtio_blk_handle_(?P<kind>read|write) vdev (?P<device>\S+) req \S+"
    r" sector (?P<sector>\d+) nsectors (?P<count>\d+)"
)
# What is known of a sector, and what a request makes of it.
LEFT, READ, WRITTEN, READ_THEN_WRITTEN = range(4)
BY_READ: Final = bytes([READ, READ, WRITTEN, READ_THEN_WRITTEN])
BY_WRITE: Final = bytes([WRITTEN, READ_THEN_WRITTEN, WRITTEN, READ_THEN_WRITTEN])
MATTERING: Final = re.compile(b"[^%c]+" % WRITTEN, re.DOTALL)


@dataclass(frozen=True)
class Touched:
    """For each sector of the disk one byte: LEFT alone, READ, WRITTEN before it was read, or READ_THEN_WRITTEN."""

    sectors: bytes

    @classmethod
    def of(cls, trace: Iterable[str], layout: Layout) -> Touched:
        """What the requests of a trace have touched.  Of the disks in it, the one that is too large for the marks."""
        requests: dict[str, list[tuple[bytes, int, int]]] = {}
        for line in trace:
            match = REQUEST.match(line)
            if match:
                by = BY_READ if match["kind"] == "read" else BY_WRITE
                first = int(match["sector"])
                requests.setdefault(match["device"], []).append((by, first, first + int(match["count"])))
        found = bytearray(layout.disk.size // SECTOR)
        for made in requests.values():
            if max(end for _, _, end in made) * SECTOR > layout.marks.size:
                for by, first, end in made:
                    found[first:end] = found[first:end].translate(by.ljust(256))
        return cls(bytes(found))

    @classmethod
    def unpacked(cls, packed: bytes) -> Touched:
        """The opposite of `packed`.

        Raises:
            zlib.error: it is damaged.
        """
        return cls(zlib.decompress(packed))

    def packed(self) -> bytes:
        """As a file keeps it."""
        return zlib.compress(self.sectors)

    def matters(self, layout: Layout, free: Sequence[Window]) -> list[Window]:
        """The parts of the image in which two points must agree: what was read first, and what was left alone.

        What was left alone in the parts that are `free`, because nobody uses them in the end, may be anything.
        """
        left = bytearray(self.sectors)
        for window in free:
            first, end = ((at - layout.disk.start) // SECTOR for at in (window.start, window.end))
            left[first:end] = left[first:end].translate(bytes([WRITTEN, READ, WRITTEN, READ_THEN_WRITTEN]).ljust(256))
        start = layout.disk.start
        return [
            Window("matters", start + match.start() * SECTOR, (match.end() - match.start()) * SECTOR)
            for match in MATTERING.finditer(left)
        ]
