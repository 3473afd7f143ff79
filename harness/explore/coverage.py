# SPDX-License-Identifier: Apache-2.0
"""Which points are decided by a boot of another one: those that hold the same in all that the boot has read, and in all
that counts in the end.

What a board does follows from what it reads and from what the server tells it.  So a point with the same card, the
same server and the same content wherever the recovery read before it wrote goes the same way, up to the order in which
things happen at the same time.  A copy on the card whose checksum is wrong is as good as any other such copy: nobody
looks further (tests/stack/test_bootmodel.py).  What the recovery neither read nor wrote must be the same, too, but for
a slot that was never to be booted.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.explore.contents import Contents, digests
from harness.explore.recording import Heard, Recording
from harness.explore.space import Space
from harness.explore.sums import Region
from harness.judge import parse_copy
from harness.storage import CrashPoint
from images.layout import Window


@dataclass(frozen=True)
class Witness:
    """A point that was booted, by `name`; two points must agree in the `windows` of the image."""

    name: str
    point: CrashPoint
    heard: Heard
    windows: tuple[Window, ...]


@dataclass(frozen=True)
class _Seen:
    """What a witness began with."""

    witness: Witness
    card: tuple[bytes, ...]
    numbers: tuple[int, ...]
    regions: tuple[Region, ...]


class Coverage:
    """Of one recording, by these witnesses."""

    def __init__(self, recording: Recording, witnesses: Sequence[Witness]) -> None:
        self._recording = recording
        self._witnesses = sorted(witnesses, key=lambda one: one.point.position)
        self._valid: dict[bytes, bool] = {}  # by a copy's digest

    def decided(self, space: Space) -> Iterator[tuple[CrashPoint, Heard, Witness]]:
        """Each point of the space that some witness decides, its own among them, with the first such witness."""
        contents = self._contents()
        seen = self._seen(contents)
        for position in space.positions:
            contents.go_to(position)
            heard_here = self._recording.heard_at(position)
            possible = [one for one in seen if one.witness.heard in heard_here]
            for point in space.points(position, contents.epoch, contents.card):
                card = self._card(contents, point)
                alike = [one for one in possible if one.card == card]
                for heard in heard_here:
                    found = self._found(contents, point, [one for one in alike if one.witness.heard == heard])
                    if found is not None:
                        yield point, heard, found

    def _found(self, contents: Contents, point: CrashPoint, alike: Sequence[_Seen]) -> Witness | None:
        return next((one.witness for one in alike if contents.numbers(point, one.regions) == one.numbers), None)

    def _card(self, contents: Contents, point: CrashPoint) -> tuple[bytes, ...]:
        """What stands for the environment copies, and is empty for a damaged one."""
        copies = contents.copies(point)
        found = []
        for copy, digest in zip(copies, digests(copies), strict=True):
            if digest not in self._valid:
                self._valid[digest] = parse_copy(copy, redundant=len(copies) > 1).valid
            found.append(digest if self._valid[digest] else b"")
        return tuple(found)

    def _contents(self) -> Contents:
        return Contents(self._recording, [window for one in self._witnesses for window in one.windows])

    def _seen(self, later: Contents) -> list[_Seen]:
        """What each witness began with; its regions are those of `later`, which is still at the beginning."""
        contents, found, at = self._contents(), [], 0
        for one in self._witnesses:
            contents.go_to(one.point.position)
            part = slice(at, at + len(one.windows))
            at = part.stop
            card = self._card(contents, one.point)
            numbers = contents.numbers(one.point, contents.regions[part])
            found.append(_Seen(one, card, numbers, tuple(later.regions[part])))
        return found
