# SPDX-License-Identifier: Apache-2.0
"""Power cuts against a naive model of the media: every sector is searched for its last surviving write."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.storage import CrashPoint, DiskView, WriteLog, choose, crash_extents, flushes, open_epoch, tearable
from harness.storage.crashpoint import TAILS
from images.layout import Layout, Window
from tests.unit.write_logs import DISCARD, FLUSH, FUA, SECTOR, entry, write_log

CARD, DISK, MARKS = 8, 16, 4  # sectors
LAYOUT = Layout(
    card=Window("card", 0, CARD * SECTOR),
    disk=Window("disk", CARD * SECTOR, DISK * SECTOR),
    marks=Window("marks", (CARD + DISK) * SECTOR, MARKS * SECTOR),
    partitions=(),
    env_offsets=(0,),
    env_size=SECTOR,
)
BASE = b"\xba" * LAYOUT.size


@dataclass(frozen=True)
class Step:
    """An entry of the log to be made; `sectors` of `fill`, from `sector` of the image."""

    sector: int = 0
    sectors: int = 0
    flags: int = 0
    fill: int = 0

    @property
    def writes(self) -> bool:
        return self.sectors > 0 and not self.flags & DISCARD

    @property
    def on_disk(self) -> bool:
        return CARD <= self.sector < CARD + DISK

    @property
    def on_card(self) -> bool:
        return self.sector < CARD

    def covers(self, sector: int) -> bool:
        return self.sector <= sector < self.sector + self.sectors


def in_window(first: int, count: int, flags: int, sector: int, length: int, fill: int) -> Step:
    sector %= count
    return Step(first + sector, 1 + length % (count - sector), flags, fill)


numbers = (st.integers(0, 15), st.integers(0, 7), st.integers(0, 255))
steps = st.lists(
    st.one_of(
        st.builds(in_window, st.just(CARD), st.just(DISK), st.sampled_from([0, 0, 0, FUA]), *numbers),
        st.builds(in_window, st.just(0), st.just(CARD), st.just(0), *numbers),
        st.builds(in_window, st.just(CARD + DISK), st.just(MARKS), st.just(0), *numbers),
        st.builds(in_window, st.just(CARD), st.just(DISK), st.just(DISCARD), *numbers),
        st.just(Step(flags=FLUSH)),
    ),
    max_size=14,
)
quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


def make_log(folder: Path, steps: list[Step]) -> WriteLog:
    entries = []
    for step in steps:
        data = bytes([step.fill]) * (SECTOR * step.sectors if step.writes else 0)
        entries.append(entry(step.sector, step.sectors, step.flags, data))
    write_log(folder / "run.log", *entries)
    (folder / "base").write_bytes(BASE)
    with WriteLog(folder / "run.log") as log:
        log.finish()
    return log


def may_be_lost(steps: list[Step], position: int) -> list[int]:
    """Indices, straight from the rule."""
    return [
        index
        for index in range(position)
        if steps[index].writes
        and steps[index].on_disk
        and not steps[index].flags & FUA
        and not any(step.flags & FLUSH for step in steps[index:position])
    ]


def may_be_torn(steps: list[Step], position: int, lost: frozenset[int]) -> int | None:
    if position and steps[position - 1].writes and steps[position - 1].on_card:
        return position - 1
    return max((index for index in may_be_lost(steps, position) if index not in lost), default=None)


def spoiled(steps: list[Step], position: int, lost: frozenset[int]) -> range:
    """The addresses that a tail spoils: all of the run or of the write, which are shorter than 32 KiB here."""
    last = may_be_torn(steps, position, lost)
    if last is None:
        return range(0)
    first = steps[last].sector
    if steps[last].on_card:
        for step in reversed([step for step in steps[:last] if step.writes and step.on_card]):
            if step.sector + step.sectors != first:
                break
            first = step.sector
    return range(first * SECTOR, (steps[last].sector + steps[last].sectors) * SECTOR)


def naive(steps: list[Step], point: CrashPoint) -> bytes:
    """The media after the cut, byte by byte."""
    torn_step = None if point.torn is None else point.tore
    if point.torn is not None and point.tore is None:
        torn_step = may_be_torn(steps, point.position, point.lost)
    disk = bytearray(BASE)
    for address in range(LAYOUT.marks.start):
        sector = address // SECTOR
        for index in reversed(range(point.position)):
            step = steps[index]
            reached = index != torn_step or address - step.sector * SECTOR < (point.torn or 0)
            if step.writes and step.covers(sector) and index not in point.lost and reached:
                disk[address] = step.fill
                break
    for address in spoiled(steps, point.position, point.lost) if point.tail else ():
        disk[address] = {"zeros": 0, "ones": 0xFF}[point.tail or ""]
    return bytes(disk)


@quick
@given(steps=steps, data=st.data())
def test_disk_after_a_cut_is_what_the_model_says(tmp_path: Path, steps: list[Step], data: st.DataObject) -> None:
    log = make_log(tmp_path, steps)
    position = data.draw(st.integers(0, len(steps)), "position")
    optional = may_be_lost(steps, position)
    assert [op.index for op in open_epoch(log.operations, position, LAYOUT)] == optional
    lost = frozenset(data.draw(st.sets(st.sampled_from(optional)), "lost")) if optional else frozenset[int]()
    target = may_be_torn(steps, position, lost)
    found = tearable(log.operations, position, lost, LAYOUT)
    assert (found.index if found else None) == target
    torn = tore = tail = None
    if target is not None and data.draw(st.booleans(), "tear"):
        tore = data.draw(st.sampled_from([None, *(index for index in optional if index not in lost)]), "tore")
        torn_step = steps[target if tore is None else tore]
        places = st.integers(0, torn_step.sectors * (1 if torn_step.on_disk else SECTOR))
        torn = data.draw(places, "torn") * (SECTOR if torn_step.on_disk else 1)
    elif target is not None:
        tail = data.draw(st.sampled_from([None, *TAILS.values()]), "tail")
    point = CrashPoint(position, lost, torn, tore, tail)
    view = DiskView(tmp_path / "base", crash_extents(log, point, LAYOUT))
    assert view.read(0, LAYOUT.size) == naive(steps, point)
    assert CrashPoint.parse(str(point)) == point


@quick
@given(
    steps=steps, position=st.integers(0, 14), seed=st.integers(), tear=st.booleans(), atom=st.sampled_from([512, 1024])
)
@pytest.mark.parametrize("lose", ["nothing", "unflushed", "some"])
def test_choice_is_legal_and_repeatable(
    tmp_path: Path, lose: Any, steps: list[Step], position: int, seed: int, tear: bool, atom: int
) -> None:
    log = make_log(tmp_path, steps)
    position = min(position, len(steps))
    point = choose(log.operations, position, LAYOUT, lose=lose, seed=seed, tear=tear, atom=atom)
    assert point == choose(log.operations, position, LAYOUT, lose=lose, seed=seed, tear=tear, atom=atom)
    assert point.position == position
    optional = set(may_be_lost(steps, position))
    assert {"nothing": set(), "unflushed": optional, "some": set(point.lost) & optional}[lose] == point.lost
    assert tear or point.torn is None
    view = DiskView(tmp_path / "base", crash_extents(log, point, LAYOUT, atom=atom))
    assert view.read(0, LAYOUT.size) == naive(steps, point)


def test_choice_depends_on_the_seed(tmp_path: Path) -> None:
    log = make_log(tmp_path, [Step(CARD + number, 4) for number in range(10)])
    points = {choose(log.operations, 10, LAYOUT, lose="some", seed=seed, tear=True) for seed in range(50)}
    assert len(points) > 40
    assert {point.torn for point in points if point.torn is not None} == {512, 1024, 1536}


W, F = Step(CARD, 2), Step(flags=FLUSH)


@pytest.mark.parametrize(
    ("steps", "epoch"),
    [
        ([W, F], []),
        ([W, F, W], [2]),
        ([W, Step(CARD, 1, FUA), W], [0, 2]),  # forced unit access orders nothing else
        ([W, Step(CARD, 1, FUA | FLUSH), W], [3]),  # a flush that carries a write
        ([Step(0, 1), Step(CARD + DISK, 1), Step(CARD, 1, DISCARD), W], [3]),
        ([], []),
    ],
)
def test_open_epoch(tmp_path: Path, steps: list[Step], epoch: list[int]) -> None:
    operations = make_log(tmp_path, steps).operations
    assert [op.index for op in open_epoch(operations, len(operations), LAYOUT)] == epoch


def test_lost_write_exposes_the_earlier_one_and_a_kept_one_covers_it(tmp_path: Path) -> None:
    log = make_log(tmp_path, [Step(CARD, 1, fill=1), Step(CARD, 1, fill=2), Step(CARD, 1, DISCARD)])
    seen = {
        lost: DiskView(tmp_path / "base", crash_extents(log, CrashPoint(3, frozenset(lost)), LAYOUT)).read(
            CARD * 512, 1
        )
        for lost in [(), (0,), (1,), (0, 1)]
    }
    assert seen == {(): b"\2", (0,): b"\2", (1,): b"\1", (0, 1): b"\xba"}


def test_flushes_are_counted(tmp_path: Path) -> None:
    assert flushes(make_log(tmp_path, [W, F, W, F]).operations) == 2
    assert flushes(make_log(tmp_path, [W, W]).operations) == 0


SOME = [Step(0, 2), F, Step(CARD, 2), Step(CARD, 4, FUA), Step(CARD + DISK, 1), Step(0, 1)]


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (CrashPoint(7), "Position 7 is not in the log, which holds 6 operations."),
        (CrashPoint(-1), "Position -1 is not in the log, which holds 6 operations."),
        (
            CrashPoint(6, frozenset({2, 3, 5})),
            "Operation 3 cannot be lost at position 6: it is not an un-flushed write to the disk.",
        ),
        (
            CrashPoint(2, frozenset({2})),
            "Operation 2 cannot be lost at position 2: it is not an un-flushed write to the disk.",
        ),
        (CrashPoint(2, torn=0), "No write can be torn at position 2."),
        (CrashPoint(3, frozenset({2}), 0), "No write can be torn at position 3."),
        (CrashPoint(0, torn=0), "No write can be torn at position 0."),
        (CrashPoint(6, torn=513), "Operation 5 cannot be torn after 513 bytes: it is 512 bytes long."),
        (CrashPoint(6, torn=-1), "Operation 5 cannot be torn after -1 bytes: it is 512 bytes long."),
        (CrashPoint(5, torn=1536), "Operation 2 cannot be torn after 1536 bytes: it is 1024 bytes long."),
        (CrashPoint(5, torn=100), "Operation 2 cannot be torn after 100 bytes: the disk writes 512 bytes at once."),
        (CrashPoint(6, torn=512, tore=3), "Operation 3 is no write that can be torn at position 6."),
        (CrashPoint(6, frozenset({2}), 512, 2), "Operation 2 is no write that can be torn at position 6."),
        (CrashPoint(2, tail="ones"), "The last write at position 2 cannot have a tail: nothing was being written."),
        (CrashPoint(6, torn=0, tail="ones"), "The last write at position 6 cannot have a tail: it is torn already."),
    ],
)
def test_cuts_that_the_log_does_not_allow(tmp_path: Path, point: CrashPoint, says: str) -> None:
    with pytest.raises(ValueError) as refusal:
        crash_extents(make_log(tmp_path, SOME), point, LAYOUT)
    assert str(refusal.value) == says


@pytest.mark.parametrize(
    ("steps", "atom", "says"),
    [
        ([Step(CARD - 1, 2)], 512, "Operation 0 reaches beyond the end of the card window."),
        ([Step(CARD + DISK + MARKS, 1)], 512, "No window holds address 0x3800."),
        ([W], 0, "The atom must be at least one byte, not 0."),
    ],
)
def test_logs_that_do_not_fit(tmp_path: Path, steps: list[Step], atom: int, says: str) -> None:
    log = make_log(tmp_path, steps)
    cuts: list[Callable[[], object]] = [
        lambda: crash_extents(log, CrashPoint(1), LAYOUT, atom=atom),
        lambda: choose(log.operations, 1, LAYOUT, lose="some", seed=0, tear=True, atom=atom),
    ]
    for cut in cuts:
        with pytest.raises(ValueError) as refusal:
            cut()
        assert str(refusal.value) == says


def test_a_larger_atom_allows_fewer_tears(tmp_path: Path) -> None:
    log = make_log(tmp_path, [Step(CARD, 4)])
    crash_extents(log, CrashPoint(1, torn=512), LAYOUT)
    with pytest.raises(ValueError, match="the disk writes 1024 bytes at once"):
        crash_extents(log, CrashPoint(1, torn=512), LAYOUT, atom=1024)
    assert choose(log.operations, 1, LAYOUT, lose="nothing", seed=1, tear=True, atom=1024).torn == 1024
    assert choose(log.operations, 1, LAYOUT, lose="nothing", seed=1, tear=True, atom=2048).torn is None


@pytest.mark.parametrize(
    ("point", "text"),
    [
        (CrashPoint(0), "0"),
        (CrashPoint(12, frozenset({3, 4, 5, 9})), "12,lost=3-5+9"),
        (CrashPoint(12, torn=0), "12,torn=0"),
        (CrashPoint(12, frozenset({7, 8}), 512), "12,lost=7-8,torn=512"),
        (CrashPoint(12, frozenset({7}), 512, 8), "12,lost=7,torn=8:512"),
        (CrashPoint(12, tail="zeros"), "12,tail=zeros"),
    ],
)
def test_crash_points_as_text(point: CrashPoint, text: str) -> None:
    assert str(point) == text
    assert CrashPoint.parse(text) == point


@pytest.mark.parametrize(
    "text",
    [
        "",
        "x",
        "-1",
        "01",
        "1,",
        "1,lost=",
        "1,lost=5-3",
        "1,lost=4+3",
        "1,lost=3+4",
        "1,lost=1-2-3",
        "1,torn=-1",
        "1,torn=0:",
        "1,tail=2",
        "1\n",
    ],
)
def test_text_that_is_no_crash_point(text: str) -> None:
    with pytest.raises(ValueError) as refusal:
        CrashPoint.parse(text)
    assert str(refusal.value) == f"'{text}' is not a crash point such as '1234,lost=1200-1203+1210,torn=512'."


def test_a_tail_is_not_longer_than_was_seen_in_the_field(tmp_path: Path) -> None:
    """One save of an environment of 64 KiB, as a card writes it: sector by sector."""
    sectors = 128
    layout = replace(
        LAYOUT,
        card=Window("card", 0, sectors * SECTOR),
        disk=Window("disk", sectors * SECTOR, SECTOR),
        marks=Window("marks", (sectors + 1) * SECTOR, SECTOR),
    )
    log = make_log(tmp_path, [Step(number, 1, fill=7) for number in range(sectors)])
    disk = DiskView(tmp_path / "base", crash_extents(log, CrashPoint(sectors, tail="zeros"), layout))
    assert disk.read(0, sectors * SECTOR) == b"\7" * 32768 + bytes(32768)
    disk = DiskView(tmp_path / "base", crash_extents(log, CrashPoint(3, tail="ones"), layout))
    assert disk.read(0, 4 * SECTOR) == b"\xff" * 3 * SECTOR + BASE[:SECTOR]
