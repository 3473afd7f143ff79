# SPDX-License-Identifier: Apache-2.0
"""What the points of a recording leave on the card and in some windows of the disk, as the log goes on."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence

from harness.explore.card import Card
from harness.explore.recording import Recording
from harness.explore.sums import Region
from harness.storage import CrashPoint, Kind, Operation, may_be_lost
from images.layout import Window


class Contents:
    """For points in ascending order of their positions; `epoch` are the writes that are not flushed at the last one."""

    def __init__(self, recording: Recording, windows: Sequence[Window]) -> None:
        self.recording = recording
        self._layout, base = recording.about.layout, recording.media.view
        self.card = Card(base, recording.log, self._layout)
        self.regions = [Region(base, recording.log, self._layout, window) for window in windows]
        self.epoch: list[Operation] = []
        self._reached = 0

    def go_to(self, position: int) -> None:
        """Reach a position; what lies behind cannot be asked for any more."""
        for operation in self.recording.operations[self._reached : position]:
            self._add(operation)
        self._reached = max(self._reached, position)

    def copies(self, point: CrashPoint) -> list[bytes]:
        """The environment copies that a point leaves; its position is the one that has been reached."""
        return self.card.copies(self.recording.operations, point)

    def numbers(self, point: CrashPoint, regions: Sequence[Region] | None = None) -> tuple[int, ...]:
        """The contents of the windows, or of some regions of them; the same condition."""
        chosen = self.regions if regions is None else regions
        return tuple(region.number(self.recording.operations, point) for region in chosen)

    def _add(self, operation: Operation) -> None:
        """Go one operation on."""
        self.card.add(operation)
        if operation.kind is Kind.FLUSH:
            for region in self.regions:
                region.flush()
            self.epoch = []
        elif operation.kind is Kind.WRITE and operation.address in self._layout.disk:
            for region in self.regions:
                region.add(operation)
            if may_be_lost(operation, self._layout):
                self.epoch.append(operation)


def digests(copies: Sequence[bytes]) -> tuple[bytes, ...]:
    """What stands for the environment copies where they are only compared."""
    return tuple(hashlib.blake2b(one, digest_size=16).digest() for one in copies)
