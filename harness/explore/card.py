# SPDX-License-Identifier: Apache-2.0
"""The bootloader's environment copies after a cut, as the log goes on: small enough to be held as bytes.

The card is write-through, so what it holds depends on the position alone, on where the last write tore, and on the
tail that it may have got.
"""

from __future__ import annotations

from harness.storage import CrashPoint, DiskView, Operation, WriteLog
from harness.storage.source import FILL_BYTE, FILLS
from images.layout import Layout


class Card:
    """All environment copies of one board, for points in ascending order of their positions."""

    def __init__(self, base: DiskView, log: WriteLog, layout: Layout) -> None:
        self._log, self._layout = log, layout
        self._starts = [layout.card.start + offset for offset in layout.env_offsets]
        self._copies = [base.read(start, layout.env_size) for start in self._starts]
        self._last: Operation | None = None
        self._before = b""  # what the last write covered
        self._after = b""

    def add(self, operation: Operation) -> None:
        """One more operation has completed, whatever it is."""
        self._last = None
        if operation.length and operation.address in self._layout.card:
            self._after = self._log.data(operation)
            if self._after:
                self._last, self._before = operation, self._read(operation)
                self._copies = self._written(operation.address, self._after)

    def tears(self) -> list[int]:
        """After how many bytes the last operation can have torn so that each time something else is there; ascending.

        Empty if it was no write to a copy, or covered what it wrote.
        """
        if self._last is None:
            return []
        differing = [at for at, (old, new) in enumerate(zip(self._before, self._after, strict=True)) if old != new]
        return [at + 1 for at in differing[:-1]]

    def copies(self, point: CrashPoint, spoiled: tuple[int, int] | None = None) -> list[bytes]:
        """What the point leaves of each copy; its position is the end of what was added, and `spoiled` is its tail.

        What a point leaves as it was is the very same object.
        """
        if self._last is not None and point.torn is not None and point.tore is None:
            return self._written(self._last.address, self._after[: point.torn] + self._before[point.torn :])
        if self._last is not None and point.tail is not None:
            assert spoiled is not None
            return self._written(spoiled[0], FILL_BYTE[FILLS[point.tail]] * spoiled[1])
        return list(self._copies)

    def _read(self, operation: Operation) -> bytes:
        """What the copies hold where a write goes; what it writes itself outside of them, which nobody looks at."""
        data = bytearray(self._after)
        for start, copy in zip(self._starts, self._copies, strict=True):
            first, end = max(start, operation.address), min(start + len(copy), operation.end)
            if first < end:
                data[first - operation.address : end - operation.address] = copy[first - start : end - start]
        return bytes(data)

    def _written(self, address: int, data: bytes) -> list[bytes]:
        """The copies with this written over them."""
        found = []
        for start, copy in zip(self._starts, self._copies, strict=True):
            first, end = max(start, address), min(start + len(copy), address + len(data))
            if first < end:
                copy = copy[: first - start] + data[first - address : end - address] + copy[end - start :]
            found.append(copy)
        return found
