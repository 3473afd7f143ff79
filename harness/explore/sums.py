# SPDX-License-Identifier: Apache-2.0
"""The content of a part of the disk as a number: the same content has the same number, whatever was written in which
order.  So thousands of crash points are told apart without building a disk for any of them.

The number is the sum, modulo 2 ** 128, of a hash of each sector with its place (a multiset hash, Clarke and others,
ASIACRYPT 2003; collisions by chance are as rare as those of 128 bits).  Sectors of zeros count nothing, so that what
is empty costs nothing.  Numbers are relative to a base content, which has 0.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from hashlib import blake2b
from typing import Final

from harness.storage import CrashPoint, DiskView, Extent, ExtentMap, Kind, Operation, WriteLog
from harness.storage.source import FILL_BYTE, FILLS
from images.layout import SECTOR, Window

MODULUS: Final = 1 << 128
EMPTY: Final = bytes(SECTOR)
NOTHING: Final[Mapping[int, int]] = {}


def term(sector: int, content: bytes) -> int:
    """What one sector adds to the number."""
    if content == EMPTY:
        return 0
    return int.from_bytes(blake2b(content, digest_size=16, salt=sector.to_bytes(16, "little")).digest(), "little")


@dataclass(frozen=True, slots=True)
class _Write:
    """One un-flushed write, clipped to the region; terms by sector, before and after."""

    index: int
    first: int  # sector
    skipped: int  # sectors of the operation that lie before the region
    old: list[int]
    new: list[int]
    net: int

    @property
    def end(self) -> int:
        return self.first + len(self.new)

    def part(self, sectors: int) -> int:
        """What the first so many sectors of the operation change."""
        kept = max(0, sectors - self.skipped)
        return sum(self.new[:kept]) - sum(self.old[:kept])


class Region:
    """The number of one window of the image, as the log goes on.  Holds one epoch's terms, and no content."""

    def __init__(self, base: DiskView, log: WriteLog, window: Window) -> None:
        self.window = window
        self._base, self._log = base, log
        self._durable = base
        self._written: list[Extent] = []
        self._open: list[_Write] = []
        self._total = 0
        self._overlaps = False

    def take(self, operation: Operation) -> None:
        """One more operation of the log has completed, whatever it is."""
        if operation.kind is Kind.FLUSH:
            self.flush()
        elif operation.kind is Kind.WRITE:
            self.add(operation)

    def add(self, operation: Operation) -> None:
        """One more write has completed; it may lie elsewhere."""
        start, end = max(operation.address, self.window.start), min(operation.end, self.window.end)
        if start >= end:
            return
        data = self._log.data(operation)[start - operation.address : end - operation.address]
        old = _terms(start // SECTOR, self._durable.read(start, end - start))
        new = _terms(start // SECTOR, data)
        skipped = (start - operation.address) // SECTOR
        made = _Write(operation.index, start // SECTOR, skipped, old, new, sum(new) - sum(old))
        self._overlaps |= any(made.first < other.end and other.first < made.end for other in self._open)
        self._open.append(made)
        self._written.append(Extent(operation.address, operation.length, self._log.path, operation.offset))

    def flush(self) -> None:
        """All writes so far are durable."""
        if self._open:
            self._total = self._sum(self._open)
            self._open, self._overlaps = [], False
            self._durable = DiskView(self._base.base, ExtentMap(self._written).over(self._base.extents))

    def number(self, point: CrashPoint, spoiled: tuple[int, int] | None = None) -> int:
        """The number of what the point leaves; its position is the end of what was added, and `spoiled` is its tail."""
        kept = [write for write in self._open if write.index not in point.lost]
        if spoiled is not None:
            start, end = max(spoiled[0], self.window.start), min(sum(spoiled), self.window.end)
            sector = FILL_BYTE[FILLS[point.tail or ""]] * SECTOR
            tail = {place: term(place, sector) for place in range(start // SECTOR, end // SECTOR)}
            return self._overlaid(kept, {}, tail)
        torn = {point.tore: (point.torn or 0) // SECTOR} if point.tore is not None else {}
        return self._sum(kept, torn)

    def _sum(self, kept: Sequence[_Write], torn: Mapping[int, int] = NOTHING) -> int:
        """With these writes of the epoch; of a torn one, by index, only so many sectors."""
        if self._overlaps:
            return self._overlaid(kept, torn, NOTHING)
        parts = (write.part(torn[write.index]) if write.index in torn else write.net for write in kept)
        return (self._total + sum(parts)) % MODULUS

    def _overlaid(self, kept: Sequence[_Write], torn: Mapping[int, int], tail: Mapping[int, int]) -> int:
        """The same, sector by sector: a later write covers an earlier one, and the tail all of them."""
        before: dict[int, int] = {}
        after: dict[int, int] = {}
        for write in self._open:
            before.update(enumerate(write.old, write.first))
        for write in kept:
            sectors = torn.get(write.index, write.skipped + len(write.new))
            after.update(enumerate(write.new[: max(0, sectors - write.skipped)], write.first))
        after.update(tail)
        return (self._total + sum(value - before[sector] for sector, value in after.items())) % MODULUS


def _terms(first: int, content: bytes) -> list[int]:
    view = memoryview(content)
    return [term(first + at // SECTOR, bytes(view[at : at + SECTOR])) for at in range(0, len(content), SECTOR)]
