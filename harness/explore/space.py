# SPDX-License-Identifier: Apache-2.0
"""Which crash points an update has, and which of them are examined.

Owns the choice.  A crash point is a position in the log, a subset of the writes that are not flushed there, and at
most one tear or tail.  The positions are those after each write to what is hot (all but the slots), around each flush
and each mark, and some of those within the bulk of a slot, on a logarithmic scale.  The subsets are the families that
the literature found bugs with (CrashMonkey, ALICE, "Torturing Databases"): none, all, all but one, only one, the last
ones, and all of them when they are few.
"""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from harness.explore.card import Card
from harness.explore.recording import Recording
from harness.storage import CrashPoint, Kind, Operation, may_be_lost
from harness.storage.crashpoint import TAILS
from images.layout import SECTOR

FEW: Final = 8  # writes of which every subset is examined
SAMPLES: Final = 64  # subsets of more
LARGE: Final = 64 * SECTOR  # writes beyond this are torn at some of their sectors, others at each


@dataclass(frozen=True)
class Count:
    """How large the space is: all points, and of these the ones that are examined."""

    positions: int
    total: int
    examined_positions: int


class Space:
    """The points of one recording.  `everything` examines every position; `seed` chooses where something is sampled."""

    def __init__(self, recording: Recording, *, everything: bool = False, seed: int = 0) -> None:
        self.recording, self._seed = recording, seed
        about = recording.about
        self._layout = about.layout
        self._first, self._last = about.began, about.ended
        every = range(self._first, self._last + 1)
        self.positions: Sequence[int] = every if everything else sorted(self._chosen())

    def count(self) -> Count:
        """Count all points, without going through them."""
        total = sum(self._points_at(epoch, position) for position, epoch in self._epochs(self._first, self._last))
        return Count(self._last - self._first + 1, total, len(self.positions))

    def points(self, position: int, epoch: Sequence[Operation], card: Card) -> Iterator[CrashPoint]:
        """The points to examine at a position, each once; `epoch` are the writes that are not flushed there."""
        indices = [operation.index for operation in epoch]
        on_card = self._written_to_card(position) is not None
        # What is written to the card in a row leaves the epoch as it is: after the last of them is soon enough.
        goes_on = on_card and self._written_to_card(position + 1) is not None
        subsets = dict.fromkeys(self._subsets(indices, position, brief=goes_on))
        for lost in subsets:
            yield CrashPoint(position, lost)
        extremes = dict.fromkeys((frozenset[int](), frozenset(indices)))
        if on_card:
            for lost in extremes:
                yield from (CrashPoint(position, lost, torn) for torn in card.tears())
                yield from (CrashPoint(position, lost, tail=tail) for tail in TAILS.values())
        elif epoch and self._is_bulk(epoch[-1]):
            # Tails were seen in what is written raw: no file system promises to bear them.
            yield from (CrashPoint(position, tail=tail) for tail in TAILS.values())
        if epoch and not goes_on:
            yield from self._torn(epoch, position)

    def _torn(self, epoch: Sequence[Operation], position: int) -> Iterator[CrashPoint]:
        """The first write and the last one torn, with all others and with none."""
        for target in dict.fromkeys((epoch[0], epoch[-1])):
            others = frozenset(one.index for one in epoch if one is not target)
            for lost in dict.fromkeys((frozenset[int](), others)):
                for sectors in _places(target.length // SECTOR):
                    yield CrashPoint(position, lost, sectors * SECTOR, target.index)

    def _subsets(self, indices: Sequence[int], position: int, *, brief: bool) -> Iterator[frozenset[int]]:
        """Which writes may be lost together."""
        whole = frozenset(indices)
        yield frozenset()
        yield whole
        for index in indices:
            yield frozenset({index})
            yield whole - {index}
        if brief:
            return
        yield from (frozenset(indices[:count]) for count in range(1, len(indices)))
        yield from (frozenset(indices[count:]) for count in range(1, len(indices)))
        if len(indices) <= FEW:
            for bits in range(1 << len(indices)):
                yield frozenset(index for place, index in enumerate(indices) if bits >> place & 1)
            return
        chance = random.Random(f"{self._seed} {position}")
        for _ in range(SAMPLES):
            yield frozenset(index for index in indices if chance.random() < 0.5)

    def _chosen(self) -> set[int]:
        chosen = {self._first, self._last}
        run: list[int] = []  # positions after writes to a slot, without anything else between them
        for operation in self.recording.operations[self._first : self._last]:
            position = operation.index + 1
            if self._is_bulk(operation):
                run.append(position)
                continue
            chosen.update(run[place - 1] for place in _scale(len(run) + 1))
            if operation.kind is Kind.FLUSH or operation.address in self._layout.marks:
                chosen.update((operation.index, position, min(position + 1, self._last)))
            else:
                chosen.add(position)
            run = []
        chosen.update(run[place - 1] for place in _scale(len(run) + 1))
        return chosen

    def _is_bulk(self, operation: Operation) -> bool:
        slots = (self._layout.partition(f"rootfs-{slot}") for slot in ("a", "b"))
        return operation.kind is Kind.WRITE and any(operation.address in slot for slot in slots)

    def _written_to_card(self, position: int) -> Operation | None:
        """The operation right before the position, if it is a write to the card."""
        last = self.recording.operations[position - 1] if 0 < position <= self._last else None
        on_card = last is not None and last.kind is Kind.WRITE and last.address in self._layout.card
        return last if on_card else None

    def _epochs(self, first: int, last: int) -> Iterator[tuple[int, list[Operation]]]:
        """Each position, with the writes that are not flushed there; the list is the same one, and grows."""
        epoch: list[Operation] = []
        for operation in self.recording.operations[:last]:
            if operation.index >= first:
                yield operation.index, epoch
            if operation.kind is Kind.FLUSH:
                epoch = []
            elif may_be_lost(operation, self._layout):
                epoch.append(operation)
        yield last, epoch

    def _points_at(self, epoch: Sequence[Operation], position: int) -> int:
        """Every subset; of what survives, one write torn at any of its atoms, or a tail."""
        last = self._written_to_card(position)
        subsets = 1 << len(epoch)
        kept_once = subsets >> 1  # the subsets that keep one certain write
        tears = sum(one.length // SECTOR - 1 for one in epoch) * kept_once
        if last is not None:
            return subsets * (last.length + len(TAILS)) + tears
        tails = sum(1 << place for place, one in enumerate(epoch) if self._is_bulk(one))  # it is the last that is kept
        return subsets + tears + tails * len(TAILS)


def _places(count: int) -> list[int]:
    """Where something of so many parts is divided: everywhere if they are few."""
    return list(range(1, count)) if count <= LARGE // SECTOR else _scale(count)


def _scale(count: int) -> list[int]:
    """Places between the parts of something, ever farther from both ends."""
    powers = [1 << power for power in range(count.bit_length()) if 1 << power < count]
    return sorted({*powers, *(count - place for place in powers)})
