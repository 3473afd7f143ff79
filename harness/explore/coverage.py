# SPDX-License-Identifier: Apache-2.0
"""Which points are decided by a boot of another one: those that hold the same in all that the boot has read, and in all
that counts in the end.

What a board does follows from what it reads and from what the server tells it.  So a point with the same card, the
same server and the same content wherever the recovery read before it wrote goes the same way, up to the order in which
things happen at the same time.  A copy on the card whose checksum is wrong is as good as any other such copy: nobody
looks further (tests/stack/test_bootmodel.py).  What the recovery neither read nor wrote must be the same, too, but for
a slot that was never to be booted.  On the data partition it is enough that a mount finds the same: the journal is read
whole, and of what is in it only what is replayed counts.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from harness.explore.contents import Contents, digests
from harness.explore.recording import Heard, Recording
from harness.explore.space import Space
from harness.explore.sums import Region
from harness.judge import data, parse_copy
from harness.storage import CrashPoint
from images.layout import Window


@dataclass(frozen=True)
class Witness:
    """A point that was booted, by `name`; two points must agree in the `windows` of the image.

    `whole`: the data partition was, so that what a mount finds says all of it.
    """

    name: str
    point: CrashPoint
    heard: Heard
    windows: tuple[Window, ...]
    whole: bool = True


@dataclass(frozen=True)
class _Seen:
    """What a witness began with: on the card, elsewhere, and on the data partition, by sectors and to a mount."""

    witness: Witness
    card: tuple[bytes, ...]
    elsewhere: tuple[int, ...]
    on_data: tuple[int, ...]
    mounted: bytes | int | None
    regions: tuple[Sequence[Region], Sequence[Region]]  # of these two


class Coverage:
    """Of one recording, by these witnesses."""

    def __init__(self, recording: Recording, witnesses: Sequence[Witness]) -> None:
        self._recording = recording
        self._witnesses = sorted(witnesses, key=lambda one: one.point.position)
        place = recording.about.layout.partition(data.PARTITION)
        self._windows = [_parted(one.windows, place) for one in self._witnesses]
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
                    mine = (one for one in alike if one.witness.heard == heard)
                    found = next((one.witness for one in mine if _agrees(contents, point, one)), None)
                    if found is not None:
                        yield point, heard, found

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
        return Contents(self._recording, [window for parts in self._windows for part in parts for window in part])

    def _seen(self, later: Contents) -> list[_Seen]:
        """What each witness began with; its regions are those of `later`, which is still at the beginning."""
        contents, found, at = self._contents(), [], 0
        now = contents.regions
        for one, (elsewhere, on_data) in zip(self._witnesses, self._windows, strict=True):
            contents.go_to(one.point.position)
            middle = at + len(elsewhere)
            first, second = slice(at, middle), slice(middle, middle + len(on_data))
            at = second.stop
            found.append(
                _Seen(
                    one, self._card(contents, one.point),
                    contents.numbers(one.point, now[first]), contents.numbers(one.point, now[second]),
                    contents.mounted(one.point) if one.whole else None, (later.regions[first], later.regions[second]),
                )
            )  # fmt: skip
        return found


def _agrees(contents: Contents, point: CrashPoint, one: _Seen) -> bool:
    """Whether a point holds what a witness began with; their cards are known to be the same."""
    elsewhere, on_data = one.regions
    if contents.numbers(point, elsewhere) != one.elsewhere:
        return False
    return contents.numbers(point, on_data) == one.on_data or contents.mounted(point) == one.mounted


def _parted(windows: Sequence[Window], place: Window) -> tuple[list[Window], list[Window]]:
    """The parts of the windows outside a place, and those inside it."""
    outside: list[Window] = []
    inside: list[Window] = []
    for one in windows:
        for start, end, found in (
            (one.start, min(one.end, place.start), outside),
            (max(one.start, place.start), min(one.end, place.end), inside),
            (max(one.start, place.end), one.end, outside),
        ):
            if start < end:
                found.append(Window(one.name, start, end - start))
    return outside, inside
