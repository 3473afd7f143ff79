# SPDX-License-Identifier: Apache-2.0
"""The number of a region against the disk itself: two crash points have the same number if and only if they leave the
same content there."""

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from harness.explore.sums import Region
from harness.storage import (
    CrashPoint,
    DiskView,
    ExtentMap,
    Kind,
    Operation,
    WriteLog,
    crash_extents,
    open_epoch,
    tail_of,
)
from images.layout import Window
from tests.unit.test_storage_crash import BASE, CARD, DISK, LAYOUT, SECTOR, Step, make_log, quick, steps

PART = Window("part", (CARD + 2) * SECTOR, (DISK - 5) * SECTOR)


def reopened(folder: Path, steps: list[Step]) -> WriteLog:
    log = WriteLog(make_log(folder, steps).path)
    log.finish()
    return log


@quick
@given(steps=steps, data=st.data())
def test_same_number_means_same_content(tmp_path: Path, steps: list[Step], data: st.DataObject) -> None:
    log = reopened(tmp_path, steps)
    base = DiskView(tmp_path / "base", ExtentMap())
    region = Region(base, log, PART)
    position = data.draw(st.integers(0, len(steps)), "position")
    for operation in log.operations[:position]:
        if operation.kind is Kind.FLUSH:
            region.flush()
        elif operation.kind is Kind.WRITE:
            region.add(operation)
    contents: dict[int, bytes] = {0: base.read(PART.start, PART.size)}
    for point in data.draw(st.lists(points(log.operations, position), max_size=8), "points"):
        left = DiskView(tmp_path / "base", crash_extents(log, point, LAYOUT)).read(PART.start, PART.size)
        assert (
            DiskView(tmp_path / "base", crash_extents(log, point, LAYOUT, within=PART)).read(PART.start, PART.size)
            == left
        )
        number = region.number(point, tail_of(log.operations, point, LAYOUT) if point.tail else None)
        assert contents.setdefault(number, left) == left
        assert sum(content == left for content in contents.values()) == 1


def points(operations: list[Operation], position: int) -> st.SearchStrategy[CrashPoint]:
    """Points that the log allows; a tear names its write."""
    epoch = {one.index: one for one in open_epoch(operations, position, LAYOUT)}

    def torn(lost: frozenset[int]) -> st.SearchStrategy[CrashPoint]:
        plain = [st.just(CrashPoint(position, lost))]
        kept = [one for index, one in epoch.items() if index not in lost]
        if kept:
            plain.append(
                st.sampled_from(kept).flatmap(
                    lambda one: st.integers(0, one.length // SECTOR).map(
                        lambda sectors: CrashPoint(position, lost, sectors * SECTOR, one.index)
                    )
                )
            )
        last = operations[position - 1] if position else None
        if kept and (last is None or last.address >= CARD * SECTOR or last.kind is not Kind.WRITE):
            plain += [st.just(CrashPoint(position, lost, tail=tail)) for tail in ("zeros", "ones")]
        return st.one_of(plain)

    lost = st.sets(st.sampled_from(sorted(epoch))) if epoch else st.just(set())
    return lost.map(frozenset).flatmap(torn)


def test_what_lies_outside_of_it_changes_nothing(tmp_path: Path) -> None:
    log = reopened(tmp_path, [Step(CARD, 2, fill=1), Step(CARD + DISK - 3, 2, fill=1)])
    region = Region(DiskView(tmp_path / "base", ExtentMap()), log, PART)
    for operation in log.operations:
        region.add(operation)
    assert region.number(CrashPoint(2)) == 0
    region.flush()
    assert region.number(CrashPoint(2)) == 0


def test_an_empty_region_has_no_number_of_its_own(tmp_path: Path) -> None:
    log = reopened(tmp_path, [Step(CARD + 2, 1, fill=0)])
    (tmp_path / "base").write_bytes(bytes(len(BASE)))
    region = Region(DiskView(tmp_path / "base", ExtentMap()), log, PART)
    region.add(log.operations[0])
    assert region.number(CrashPoint(1)) == 0
