# SPDX-License-Identifier: Apache-2.0
"""Which bytes of which file stand at which address: a disk's content as a value.

Owns the sorted map of extents and its layering.  Refuses to hold content: it points into files, which must stay
as they are for as long as the map is used.
"""

from __future__ import annotations

import hashlib
import struct
from bisect import bisect_left, bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.storage.source import Sources

RUN: Final = struct.Struct("<QQ")


@dataclass(frozen=True, slots=True)
class Extent:
    """`length` bytes at `address` of the image, found in `source` from `offset` on; all in bytes."""

    address: int
    length: int
    source: Path
    offset: int

    @property
    def end(self) -> int:
        """The first address after the extent."""
        return self.address + self.length

    def clip(self, start: int, end: int) -> Extent:
        """The part of the extent within [start, end), which must overlap it."""
        if start <= self.address and self.end <= end:
            return self
        first = max(start, self.address)
        return Extent(first, min(end, self.end) - first, self.source, self.offset + first - self.address)


class ExtentMap:
    """An immutable map from addresses to content: extents in address order that do not overlap.

    Args:
        extents: applied in this order, so a later one covers what it overlaps of earlier ones; empty ones are
            dropped.  Neighbours that are also neighbours in the same file become one.

    Raises:
        ValueError: an address, length or offset is negative.
    """

    __slots__ = ("_extents", "_starts")

    def __init__(self, extents: Iterable[Extent] = ()) -> None:
        self._extents = _merged(_painted(extents))
        self._starts = [extent.address for extent in self._extents]

    def __iter__(self) -> Iterator[Extent]:
        return iter(self._extents)

    def __len__(self) -> int:
        return len(self._extents)

    def __repr__(self) -> str:
        return f"<ExtentMap: {self.bytes} bytes in {len(self)} extents>"

    @property
    def bytes(self) -> int:
        """How many bytes of the image the map covers."""
        return sum(extent.length for extent in self._extents)

    @property
    def end(self) -> int:
        """The first address after the last extent; 0 for an empty map."""
        return self._extents[-1].end if self._extents else 0

    def over(self, lower: ExtentMap) -> ExtentMap:
        """This map laid over another: where both have content, this one's counts."""
        return ExtentMap([*lower, *self])

    def slice(self, start: int, end: int) -> ExtentMap:
        """The part of the map within [start, end); addresses stay what they are."""
        return ExtentMap(self.within(start, end))

    def within(self, start: int, end: int) -> list[Extent]:
        """The extents, cut to [start, end), in address order."""
        if start >= end:
            return []
        first = max(bisect_right(self._starts, start) - 1, 0)
        last = bisect_left(self._starts, end)
        return [extent.clip(start, end) for extent in self._extents[first:last] if extent.end > start]

    def runs(self) -> Iterator[tuple[int, list[Extent]]]:
        """Extents that touch, together, whatever their files: (length of the run in bytes, its extents)."""
        run: list[Extent] = []
        for extent in self._extents:
            if run and run[-1].end != extent.address:
                yield run[-1].end - run[0].address, run
                run = []
            run.append(extent)
        if run:
            yield run[-1].end - run[0].address, run

    def digest(self) -> str:
        """SHA-256, in hexadecimal, over what stands where, however it is cut and wherever it comes from.

        For each run of touching extents in address order: address and length as two little-endian u64, then the
        content.

        Raises:
            EOFError: a file ends inside an extent.
            OSError: a file cannot be read.
        """
        total = hashlib.sha256()
        with Sources() as sources:
            for length, run in self.runs():
                total.update(RUN.pack(run[0].address, length))
                for extent in run:
                    for chunk in sources.chunks(extent.source, extent.offset, extent.length):
                        total.update(chunk)
        return total.hexdigest()


def _painted(extents: Iterable[Extent]) -> list[Extent]:
    """Apply extents one after the other; sorted and free of overlaps."""
    starts: list[int] = []
    placed: list[Extent] = []
    for new in extents:
        address, length = new.address, new.length
        if address < 0 or length < 0 or new.offset < 0:
            raise ValueError(f"An extent cannot have negative numbers: {new}.")
        if not length:
            continue
        end = address + length
        if not placed or placed[-1].end <= address:
            starts.append(address)
            placed.append(new)
            continue
        first = bisect_right(starts, address)
        if first and placed[first - 1].end > address:
            first -= 1
        last = bisect_left(starts, end, first)
        pieces = [new]
        if first < last:
            if placed[first].address < address:
                pieces.insert(0, placed[first].clip(0, address))
            if placed[last - 1].end > end:
                pieces.append(placed[last - 1].clip(end, placed[last - 1].end))
        placed[first:last] = pieces
        starts[first:last] = [piece.address for piece in pieces]
    return placed


def _merged(extents: list[Extent]) -> list[Extent]:
    """Make one of neighbours that are neighbours in the same file too."""
    merged: list[Extent] = []
    for extent in extents:
        last = merged[-1] if merged else None
        if (
            last is not None
            and last.end == extent.address
            and last.offset + last.length == extent.offset
            and last.source == extent.source
        ):
            merged[-1] = Extent(last.address, last.length + extent.length, last.source, last.offset)
        else:
            merged.append(extent)
    return merged
