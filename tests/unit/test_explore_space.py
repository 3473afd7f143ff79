# SPDX-License-Identifier: Apache-2.0
"""The space against a naive enumeration, and the card against the disk."""

from dataclasses import replace
from itertools import chain, combinations
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.explore.card import Card
from harness.explore.space import FEW, Space
from harness.storage import (
    CrashPoint,
    DiskView,
    ExtentMap,
    Kind,
    WriteLog,
    crash_extents,
    open_epoch,
    tail_of,
    tearable,
)
from harness.storage.crashpoint import TAILS
from images.layout import Window
from tests.unit.test_storage_crash import CARD, DISK, LAYOUT, SECTOR, Step, make_log, quick, steps
from tests.unit.write_logs import FLUSH

# Slot A, the first sector of the disk, and slot B, its second half, are bulk; the card has two environment copies.
SLOTS = replace(
    LAYOUT,
    partitions=(
        Window("rootfs-a", 0, SECTOR),
        Window("rootfs-b", DISK // 2 * SECTOR, DISK // 2 * SECTOR),
        Window("data", SECTOR, (DISK // 2 - 1) * SECTOR),
    ),
    env_offsets=(SECTOR, 4 * SECTOR),
    env_size=2 * SECTOR,
)


def recorded(folder: Path, steps: list[Step]) -> Any:
    """What the space looks at of a recording."""
    log = WriteLog(make_log(folder, steps).path)
    log.finish()
    about = SimpleNamespace(layout=SLOTS, began=0, ended=len(log.operations))
    return SimpleNamespace(about=about, operations=log.operations, log=log)


def is_bulk(step: Step) -> bool:
    return step.writes and (step.sector == CARD or CARD + DISK // 2 <= step.sector < CARD + DISK)


def every_point(recording: Any, steps: list[Step]) -> int:
    """Counted one by one, from the rules."""
    total = 0
    for position in range(len(steps) + 1):
        epoch = open_epoch(recording.operations, position, SLOTS)
        for lost in chain.from_iterable(combinations(epoch, count) for count in range(len(epoch) + 1)):
            indices = {one.index for one in lost}
            last = tearable(recording.operations, position, indices, SLOTS)
            total += 1 + sum(one.length // SECTOR - 1 for one in epoch if one.index not in indices)
            if last is not None and last.address < CARD * SECTOR:
                total += last.length - 1 + len(TAILS)
                continue
            total += len(TAILS) if last is not None and is_bulk(steps[last.index]) else 0
    return total


@quick
@given(steps=steps)
def test_the_count_is_that_of_all_points(tmp_path: Path, steps: list[Step]) -> None:
    recording = recorded(tmp_path, steps)
    assert Space(recording).count().total == every_point(recording, steps)


@quick
@given(steps=steps, everything=st.booleans())
def test_points_are_legal_and_each_is_examined_once(tmp_path: Path, steps: list[Step], everything: bool) -> None:
    recording = recorded(tmp_path, steps)
    base = DiskView(tmp_path / "base", ExtentMap())
    space, card = Space(recording, everything=everything), Card(base, recording.log, SLOTS)
    seen: list[CrashPoint] = []
    for position in range(len(steps) + 1):
        if position:
            card.add(recording.operations[position - 1])
        if position in space.positions:
            seen += space.points(position, open_epoch(recording.operations, position, SLOTS), card)
    assert len(set(seen)) == len(seen) <= space.count().total
    for point in seen:
        crash_extents(recording.log, point, SLOTS)
    assert not everything or {point.position for point in seen} == set(range(len(steps) + 1))


@quick
@given(steps=steps, data=st.data())
def test_the_copies_are_those_of_the_disk(tmp_path: Path, steps: list[Step], data: st.DataObject) -> None:
    recording = recorded(tmp_path, steps)
    position = data.draw(st.integers(0, len(steps)), "position")
    card = Card(DiskView(tmp_path / "base", ExtentMap()), recording.log, SLOTS)
    for operation in recording.operations[:position]:
        card.add(operation)
    last = recording.operations[position - 1] if position else None
    points = [CrashPoint(position)]
    if last is not None and last.kind is Kind.WRITE and last.address < CARD * SECTOR:
        points += [CrashPoint(position, torn=torn) for torn in (0, 1, last.length // 2, last.length)]
        points += [CrashPoint(position, tail=tail) for tail in TAILS.values()]
    for point in points:
        disk = DiskView(tmp_path / "base", crash_extents(recording.log, point, SLOTS))
        held = [disk.read(offset, SLOTS.env_size) for offset in SLOTS.env_offsets]
        spoiled = tail_of(recording.operations, point, SLOTS) if point.tail else None
        assert card.copies(point, spoiled) == held


def test_tears_leave_something_else_each_time(tmp_path: Path) -> None:
    recording = recorded(tmp_path, [Step(1, 1, fill=7), Step(1, 1, fill=7), Step(0, 1, fill=7)])
    card = Card(DiskView(tmp_path / "base", ExtentMap()), recording.log, SLOTS)
    found = []
    for operation in recording.operations:
        card.add(operation)
        found.append(card.tears())
    assert found == [list(range(1, 512)), [], []], "what is written again, or beside the copies, tears to nothing new"


@pytest.mark.parametrize("writes", [FEW, FEW + 1, 70])
def test_many_writes_are_sampled_and_few_are_not(tmp_path: Path, writes: int) -> None:
    recording = recorded(tmp_path, [Step(CARD + 1 + number % 7, 1) for number in range(writes)])
    epoch = open_epoch(recording.operations, writes, SLOTS)
    card = Card(DiskView(tmp_path / "base", ExtentMap()), recording.log, SLOTS)
    points = list(Space(recording).points(writes, epoch, card))
    lost = {point.lost for point in points}
    whole = frozenset(range(writes))
    assert {frozenset(), whole, whole - {3}, frozenset({3}), frozenset(range(3))} <= lost
    assert len(lost) == 1 << writes if writes <= FEW else len(lost) < 5 * writes + 64
    assert Space(recording, seed=1).points(writes, epoch, card) is not None


def test_what_follows_a_write_to_the_card_is_examined_as_all_else(tmp_path: Path) -> None:
    """If a flush comes next, these writes are lost there or nowhere; within a row on the card once is enough."""
    on_disk = [Step(CARD + 1 + number, 2) for number in range(4)]
    recording = recorded(tmp_path, [*on_disk, Step(1, 1, fill=7), Step(2, 1, fill=8), Step(flags=FLUSH)])
    card, points = Card(DiskView(tmp_path / "base", ExtentMap()), recording.log, SLOTS), {}
    for position in range(len(recording.operations)):
        if position:
            card.add(recording.operations[position - 1])
        epoch = open_epoch(recording.operations, position, SLOTS)
        points[position] = list(Space(recording).points(position, epoch, card))
    within, last = points[5], points[6]
    assert len({point.lost for point in last}) == 2 ** len(on_disk) > len({point.lost for point in within})
    assert {point.tore for point in last if point.tore is not None} == {0, 3}
    assert all(point.tore is None for point in within)


def test_bulk_is_looked_at_on_a_scale(tmp_path: Path) -> None:
    slot = CARD + DISK // 2
    recording = recorded(tmp_path, [Step(slot, 1) for _ in range(100)] + [Step(flags=FLUSH)])
    positions = set(Space(recording).positions)
    assert {0, 1, 2, 4, 8, 16, 32, 37, 64, 69, 85, 93, 97, 99, 100, 101} == positions
    assert set(Space(recording, everything=True).positions) == set(range(102))
