# SPDX-License-Identifier: Apache-2.0
"""What the points of a recording leave on the card, in windows of the disk, and to a mount of the data partition."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache

from harness.explore.card import Card
from harness.explore.mounted import Mounted
from harness.explore.recording import Recording
from harness.explore.sums import Region
from harness.judge import data
from harness.storage import CrashPoint, Kind, Operation, may_be_lost, tail_of
from images.layout import Window


class Contents:
    """For points in ascending order of their positions; `epoch` are the writes that are not flushed at the last one."""

    def __init__(self, recording: Recording, windows: Sequence[Window]) -> None:
        self.recording = recording
        self._layout, base = recording.about.layout, recording.media.view
        self.card = Card(base, recording.log, self._layout)
        self.regions = [Region(base, recording.log, window) for window in windows]
        self.data = Region(base, recording.log, self._layout.partition(data.PARTITION))
        self.epoch: list[Operation] = []
        self._mounted = Mounted(recording)
        self._found: dict[int, bytes | int] = {}
        self._reached = 0

    def go_to(self, position: int) -> None:
        """Reach a position; what lies behind cannot be asked for any more."""
        for operation in self.recording.operations[self._reached : position]:
            self._add(operation)
        self._reached = max(self._reached, position)

    def copies(self, point: CrashPoint) -> list[bytes]:
        """The environment copies that a point leaves; its position is the one that has been reached."""
        return self.card.copies(point, self._spoiled(point))

    def numbers(self, point: CrashPoint, regions: Sequence[Region] | None = None) -> tuple[int, ...]:
        """The contents of the windows, or of some regions of them; the same condition."""
        chosen = self.regions if regions is None else regions
        spoiled = self._spoiled(point)
        return tuple(region.number(point, spoiled) for region in chosen)

    def mounted(self, point: CrashPoint) -> bytes | int:
        """What a mount of the data partition finds, as its key; where that cannot be said all that is there, as its
        number.
        """
        number = self.data.number(point)
        if number not in self._found:
            key = self._mounted.key(point)
            self._found[number] = number if key is None else key
        return self._found[number]

    def _spoiled(self, point: CrashPoint) -> tuple[int, int] | None:
        """Its tail, which takes a look back into the log: once for all regions."""
        return tail_of(self.recording.operations, point, self._layout) if point.tail else None

    def _add(self, operation: Operation) -> None:
        """Go one operation on."""
        self.card.add(operation)
        for region in (*self.regions, self.data):
            region.take(operation)
        self._mounted.take(operation)
        if operation.kind is Kind.FLUSH:
            self.epoch = []
        elif may_be_lost(operation, self._layout):
            self.epoch.append(operation)


def digests(copies: Sequence[bytes]) -> tuple[bytes, ...]:
    """What stands for the environment copies where they are only compared."""
    return tuple(map(_digest, copies))


@lru_cache(maxsize=8)  # most points leave the copies as the one before, and what has been hashed knows its own hash
def _digest(copy: bytes) -> bytes:
    return hashlib.blake2b(copy, digest_size=16).digest()
