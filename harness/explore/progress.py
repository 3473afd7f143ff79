# SPDX-License-Identifier: Apache-2.0
"""Does the slot hold what the record says of it?  A download notes how much of its slot is durable, so that a start
goes on from there; what is noted before it is durable is a hole in the new system.

An updater may find the hole when it goes on, so this is no violation by itself: it says which points are worth a boot.
"""

from __future__ import annotations

from typing import Final

from harness.explore.recording import Recording
from harness.explore.sums import Region
from harness.judge.updatestore import UpdateStore
from harness.judge.verdict import Finding
from harness.storage import CrashPoint, tail_of
from images.layout import MIB, SECTOR, Window

RULE: Final = "progress"
LOOKED_AT: Final = 16 * MIB  # bytes before the place that is noted; what lies before them was noted earlier, too


class Progress:
    """Compares the last part of what is noted with what the slot holds in the end, as the log goes on."""

    def __init__(self, recording: Recording) -> None:
        self._recording, self._layout = recording, recording.about.layout
        self._reached = 0
        self._parts: dict[Window, tuple[Region, int]] = {}  # with the number that it must have

    def go_to(self, position: int) -> None:
        """Reach a position; what lies behind cannot be judged any more."""
        for operation in self._recording.operations[self._reached : position]:
            for region, _ in self._parts.values():
                region.take(operation)
        self._reached = max(self._reached, position)

    def judge(self, point: CrashPoint, store: UpdateStore) -> Finding:
        """Whether the slot has all that is noted; the point's position is the one that has been reached."""
        window = self._window(store)
        if window.size <= 0:
            return Finding(RULE, True, "Nothing is noted as durable.")
        if window not in self._parts:
            self._parts[window] = self._follow(window)
        region, wanted = self._parts[window]
        spoiled = tail_of(self._recording.operations, point, self._layout) if point.tail else None
        holds = region.number(point, spoiled) == wanted
        noted = f"the {store.durable:,} bytes that are noted as durable"
        return Finding(RULE, holds, f"Slot {store.target.upper()} {'holds' if holds else 'lacks some of'} {noted}.")

    def _window(self, store: UpdateStore) -> Window:
        if store.target not in ("a", "b"):
            return Window("none", 0, 0)
        slot = self._layout.partition(f"rootfs-{store.target}")
        end = min(store.durable, slot.size) // SECTOR * SECTOR
        start = max(0, end - LOOKED_AT)
        return Window(f"{slot.name}-noted", slot.start + start, end - start)

    def _follow(self, window: Window) -> tuple[Region, int]:
        """A region that has come as far as the log has, and its number in the end."""
        operations = self._recording.operations
        region, ghost = (Region(self._recording.media.view, self._recording.log, window) for _ in range(2))
        for operation in operations:
            ghost.take(operation)
            if operation.index < self._reached:
                region.take(operation)
        return region, ghost.number(CrashPoint(len(operations)))
