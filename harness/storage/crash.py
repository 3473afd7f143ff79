# SPDX-License-Identifier: Apache-2.0
"""What a power cut leaves behind, as pure functions on values.

Owns the rules that say which states of the media a cut at a position of a log allows.  Refuses a crash point that
the rules do not allow, each with its own sentence, and to judge what was left.

The rules:

- An epoch ends only at a completed flush.  The log does not say which device a flush came from: any flush ends it.
- The disk is write-back: of the writes since the last flush, any subset may have survived.
- A write with forced unit access is durable alone; it orders nothing else.
- The card is write-through: its writes are durable in order, and only the last operation before the cut, if it is
  a write to the card, may be torn, at any byte.
- On the disk one surviving write of the open epoch may be torn, at a multiple of the atom; the last, unless another
  is named.
- What was being written last may end in a tail of zeros or ones, as seen in the field (a block that was erased, or a
  page that was never filled): of the card the end of the last run of writes, of the disk that of the last surviving
  write of the open epoch; of 32 KiB at most.
- What survives is applied in order: a later write covers an earlier one to the same sector, and a later one that
  was lost exposes the earlier.
- A discarded range keeps reading as before the discard.  (A medium may also return zeros or anything else; this
  choice is the one that leaves stale content in an updater's way.)
- The mark strip is no medium of the board: writes to it leave nothing.
"""

from __future__ import annotations

import random
from collections.abc import Collection, Sequence
from typing import Final, Literal

from harness.storage.crashpoint import CrashPoint
from harness.storage.extents import Extent, ExtentMap
from harness.storage.source import FILL_BYTES, FILLS
from harness.storage.writelog import Kind, Operation, WriteLog
from images.layout import Layout, Window

ATOM: Final = 512
Lose = Literal["nothing", "unflushed", "some"]


def flushes(operations: Sequence[Operation]) -> int:
    """How many flushes completed; a log without any from a board that should flush proves nothing."""
    return sum(operation.kind is Kind.FLUSH for operation in operations)


def may_be_lost(operation: Operation, layout: Layout) -> bool:
    """Whether this is a write that a cut may lose as long as no flush follows it.

    Raises:
        ValueError: the operation does not fit the layout.
    """
    return operation.kind is Kind.WRITE and not operation.fua and _window(operation, layout) == layout.disk


def open_epoch(operations: Sequence[Operation], position: int, layout: Layout) -> list[Operation]:
    """The writes that a cut at this position may lose, in order.

    They are the writes to the disk since the last flush before the position, without those with forced unit access.

    Raises:
        ValueError: the position is not one of the log, or an operation does not fit the layout.
    """
    _check_position(operations, position)
    epoch: list[Operation] = []
    for operation in reversed(operations[:position]):
        if operation.kind is Kind.FLUSH:
            break
        if may_be_lost(operation, layout):
            epoch.append(operation)
    epoch.reverse()
    return epoch


def tearable(operations: Sequence[Operation], position: int, lost: Collection[int], layout: Layout) -> Operation | None:
    """The one write that a cut at this position may tear, or None.

    It is the last operation, if that is a write to the card; else the last write of the open epoch that is not lost.

    Raises:
        ValueError: the position is not one of the log, or an operation does not fit the layout.
    """
    epoch = open_epoch(operations, position, layout)
    last = operations[position - 1] if position else None
    if last is not None and last.kind is Kind.WRITE and _window(last, layout) == layout.card:
        return last
    return next((operation for operation in reversed(epoch) if operation.index not in lost), None)


def tail_of(operations: Sequence[Operation], point: CrashPoint, layout: Layout) -> tuple[int, int] | None:
    """Address and length, in bytes, of what a point with a tail spoils; None if nothing was being written.

    Raises:
        ValueError: the position is not one of the log, or an operation does not fit the layout.
    """
    last = tearable(operations, point.position, point.lost, layout)
    if last is None:
        return None
    start = last.address
    if _window(last, layout) == layout.card:
        for operation in reversed(operations[: last.index]):
            if last.end - start >= FILL_BYTES:
                break
            if operation.kind is Kind.WRITE and _window(operation, layout) == layout.card:
                if operation.end != start:
                    break
                start = operation.address
    start = max(start, last.end - FILL_BYTES)
    return start, last.end - start


def crash_extents(
    log: WriteLog, point: CrashPoint, layout: Layout, *, atom: int = ATOM, within: Window | None = None
) -> ExtentMap:
    """What the cut leaves of the log's writes; it lies over the image that the log began with.

    Args:
        log: read at least as far as the point's position.
        point: the cut.
        layout: which addresses are card, disk and marks.
        atom: how many bytes the disk writes whole or not at all, counted from the start of each write.
        within: only what was written to this part of the image is wanted; takes less time.

    Raises:
        ValueError: the log does not allow this crash point, or does not fit the layout.
    """
    operations = log.operations
    epoch = {operation.index for operation in open_epoch(operations, point.position, layout)}
    if not point.lost <= epoch:
        wrong = min(point.lost - epoch)
        raise ValueError(
            f"Operation {wrong} cannot be lost at position {point.position}: it is not an un-flushed write to the disk."
        )
    torn = _torn(operations, point, layout, atom)
    extents: list[Extent] = []
    for operation in operations[: point.position]:
        if operation.kind is not Kind.WRITE or operation.index in point.lost:
            continue
        if within is not None and not (operation.address < within.end and within.start < operation.end):
            continue
        if _window(operation, layout) == layout.marks:
            continue
        length = point.torn if operation is torn and point.torn is not None else operation.length
        extents.append(Extent(operation.address, length, log.path, operation.offset))
    return ExtentMap([*extents, *_spoiled(operations, point, layout)])


def choose(
    operations: Sequence[Operation],
    position: int,
    layout: Layout,
    *,
    lose: Lose,
    seed: int,
    tear: bool = False,
    atom: int = ATOM,
) -> CrashPoint:
    """A crash point at this position, always the same for the same seed.

    Args:
        operations: the log.
        position: where power fails.
        layout: which addresses are card, disk and marks.
        lose: "nothing" keeps all writes, "unflushed" loses the whole open epoch, "some" loses each write of it with
            probability 1/2.
        seed: decides what is lost and where the tear is.
        tear: tear the write that `tearable` names, strictly inside it; nothing is torn if there is no such write or
            it is a single atom.
        atom: as for `crash_extents`.

    Raises:
        ValueError: the position is not one of the log, the log does not fit the layout, or the atom is not positive.
    """
    _check_atom(atom)
    chance = random.Random(seed)
    epoch = open_epoch(operations, position, layout)
    if lose == "unflushed":
        lost = frozenset(operation.index for operation in epoch)
    elif lose == "some":
        lost = frozenset(operation.index for operation in epoch if chance.random() < 0.5)
    else:
        lost = frozenset()
    target = tearable(operations, position, lost, layout) if tear else None
    if target is None:
        return CrashPoint(position, lost)
    step = 1 if _window(target, layout) == layout.card else atom
    places = (target.length - 1) // step
    return CrashPoint(position, lost, step * chance.randint(1, places) if places else None)


def _torn(operations: Sequence[Operation], point: CrashPoint, layout: Layout, atom: int) -> Operation | None:
    """The write that the point tears, or None if it tears none; refuses a tear that cannot be."""
    _check_atom(atom)
    if point.torn is None:
        return None
    target = tearable(operations, point.position, point.lost, layout)
    if point.tore is not None and (target is None or target.index != point.tore):
        epoch = open_epoch(operations, point.position, layout)
        target = next((one for one in epoch if one.index == point.tore and one.index not in point.lost), None)
    if target is None:
        which = "No write" if point.tore is None else f"Operation {point.tore} is no write that"
        raise ValueError(f"{which} can be torn at position {point.position}.")
    if not 0 <= point.torn <= target.length:
        raise ValueError(
            f"Operation {target.index} cannot be torn after {point.torn} bytes: it is {target.length} bytes long."
        )
    on_disk = _window(target, layout) == layout.disk
    if on_disk and point.torn % atom and point.torn != target.length:
        raise ValueError(
            f"Operation {target.index} cannot be torn after {point.torn} bytes: the disk writes {atom} bytes at once."
        )
    return target


def _spoiled(operations: Sequence[Operation], point: CrashPoint, layout: Layout) -> list[Extent]:
    if point.tail is None:
        return []
    spoiled = tail_of(operations, point, layout)
    if spoiled is None or point.torn is not None:
        why = "nothing was being written" if spoiled is None else "it is torn already"
        raise ValueError(f"The last write at position {point.position} cannot have a tail: {why}.")
    return [Extent(*spoiled, FILLS[point.tail], 0)]


def _window(operation: Operation, layout: Layout) -> Window:
    window = layout.window_of(operation.address)
    if operation.end > window.end:
        raise ValueError(f"Operation {operation.index} reaches beyond the end of the {window.name} window.")
    return window


def _check_position(operations: Sequence[Operation], position: int) -> None:
    if not 0 <= position <= len(operations):
        raise ValueError(f"Position {position} is not in the log, which holds {len(operations)} operations.")


def _check_atom(atom: int) -> None:
    if atom < 1:
        raise ValueError(f"The atom must be at least one byte, not {atom}.")
