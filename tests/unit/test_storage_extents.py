# SPDX-License-Identifier: Apache-2.0
"""Extent maps and the disks seen through them, against a plain array of bytes."""

import hashlib
import random
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.storage import DiskView, Extent, ExtentMap

SIZE = 96
SOURCES = [random.Random(number).randbytes(SIZE) for number in range(3)]
Triple = tuple[int, int, int, int]  # address, length, source, offset
triples = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 30), st.integers(0, 2), st.integers(0, 60)), max_size=12
)
quick = settings(suppress_health_check=[HealthCheck.function_scoped_fixture])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for number, content in enumerate(SOURCES):
        (tmp_path / f"source{number}").write_bytes(content)
    return tmp_path


def extents_of(folder: Path, triples: list[Triple]) -> list[Extent]:
    return [Extent(address, length, folder / f"source{source}", offset) for address, length, source, offset in triples]


def naive(triples: list[Triple]) -> dict[int, int]:
    """Address to byte, by applying one after the other."""
    return {
        address + place: SOURCES[source][offset + place]
        for address, length, source, offset in triples
        for place in range(length)
    }


def content(extents: ExtentMap) -> dict[int, int]:
    """Address to byte, straight from the files."""
    found = {}
    for extent in extents:
        data = extent.source.read_bytes()[extent.offset : extent.offset + extent.length]
        for place, byte in enumerate(data):
            assert extent.address + place not in found, "extents overlap"
            found[extent.address + place] = byte
    return found


@quick
@given(lower=triples, upper=triples)
def test_layering_is_applying_in_order(folder: Path, lower: list[Triple], upper: list[Triple]) -> None:
    below, above = ExtentMap(extents_of(folder, lower)), ExtentMap(extents_of(folder, upper))
    assert content(below) == naive(lower)
    layered = above.over(below)
    assert content(layered) == naive(lower + upper)
    assert [extent.address for extent in layered] == sorted(extent.address for extent in layered)
    assert layered.bytes == len(naive(lower + upper))
    assert layered.end == max(naive(lower + upper), default=-1) + 1
    assert content(below) == naive(lower)  # unchanged


@quick
@given(triples=triples, start=st.integers(0, 100), end=st.integers(0, 100))
def test_slice_keeps_what_lies_within(folder: Path, triples: list[Triple], start: int, end: int) -> None:
    expected = {address: byte for address, byte in naive(triples).items() if start <= address < end}
    assert content(ExtentMap(extents_of(folder, triples)).slice(start, end)) == expected


@quick
@given(triples=triples, seed=st.integers(0, 99))
def test_digest_knows_neither_cuts_nor_paths(folder: Path, triples: list[Triple], seed: int) -> None:
    whole = ExtentMap(extents_of(folder, triples))
    byte_by_byte = []
    for extent in whole:
        copy = folder / f"copy{extent.address}"
        copy.write_bytes(b"padding" + extent.source.read_bytes()[extent.offset : extent.offset + extent.length])
        byte_by_byte += [Extent(extent.address + n, 1, copy, 7 + n) for n in range(extent.length)]
    random.Random(seed).shuffle(byte_by_byte)
    assert ExtentMap(byte_by_byte).digest() == whole.digest()


def test_digest_knows_place_and_content(folder: Path) -> None:
    maps = [
        [],
        [(0, 4, 0, 0)],
        [(1, 4, 0, 0)],
        [(0, 4, 0, 1)],
        [(0, 2, 0, 0), (3, 2, 0, 2)],
    ]
    assert len({ExtentMap(extents_of(folder, triples)).digest() for triples in maps}) == len(maps)
    one = ExtentMap(extents_of(folder, [(5, 4, 1, 2)]))
    framed = (5).to_bytes(8, "little") + (4).to_bytes(8, "little") + SOURCES[1][2:6]
    assert one.digest() == hashlib.sha256(framed).hexdigest()


def test_neighbours_in_one_file_become_one(folder: Path) -> None:
    assert len(ExtentMap(extents_of(folder, [(8, 4, 0, 8), (0, 4, 0, 0), (4, 4, 0, 4)]))) == 1
    assert len(ExtentMap(extents_of(folder, [(0, 4, 0, 0), (4, 4, 1, 4)]))) == 2
    assert len(ExtentMap(extents_of(folder, [(0, 4, 0, 0), (4, 4, 0, 5)]))) == 2
    assert len(ExtentMap(extents_of(folder, [(0, 4, 0, 0), (5, 4, 0, 4)]))) == 2


@pytest.mark.parametrize("numbers", [(-1, 4, 0, 0), (0, -4, 0, 0), (0, 4, 0, -1)])
def test_negative_numbers_are_refused(folder: Path, numbers: Triple) -> None:
    with pytest.raises(ValueError, match=r"^An extent cannot have negative numbers: "):
        ExtentMap(extents_of(folder, [numbers]))


def test_source_that_ends_too_soon_is_refused(folder: Path) -> None:
    short = ExtentMap(extents_of(folder, [(0, 40, 0, 80)]))
    with pytest.raises(EOFError) as refusal:
        short.digest()
    assert str(refusal.value) == "source0 ends at byte 96, before byte 120."
    with pytest.raises(EOFError):
        DiskView(folder / "source1", short).read(0, 40)
    with pytest.raises(EOFError):
        DiskView(folder / "source1", short).write_to(folder / "out", 0, 40)
    with (folder / "sparse").open("wb") as out:
        out.truncate(200_000)
    for extents in [Extent(0, 200_001, folder / "sparse", 0), Extent(0, 100_000, folder / "sparse", 300_000)]:
        with pytest.raises(EOFError):
            DiskView(folder / "source1", ExtentMap([extents])).write_to(folder / "out", 0, 300_000)


@quick
@given(triples=triples, start=st.integers(0, 120), length=st.integers(0, 120), short=st.integers(0, SIZE))
def test_view_reads_extents_over_base_and_zeros_beyond(
    folder: Path, triples: list[Triple], start: int, length: int, short: int
) -> None:
    base = folder / "base"
    base.write_bytes(b"\xee" * short)
    disk = bytearray(b"\xee" * short + bytes(300 - short))
    for address, byte in naive(triples).items():
        disk[address] = byte
    expected = bytes(disk[start : start + length])
    view = DiskView(base, ExtentMap(extents_of(folder, triples)))
    assert view.read(start, length) == expected
    assert view.digest(start, length) == hashlib.sha256(expected).hexdigest()
    view.write_to(folder / "out", start, length)
    assert (folder / "out").read_bytes() == expected


def test_view_of_a_sparse_base_stays_sparse(folder: Path) -> None:
    base = folder / "base"
    with base.open("wb") as out:
        out.truncate(32 << 20)
        out.seek(9_000_000)
        out.write(b"here")
        out.seek(15_000_000)
        out.write(b"there")
    view = DiskView(base, ExtentMap(extents_of(folder, [(20_000_000, 9, 2, 3)])))
    view.write_to(folder / "out", 1000, 40 << 20)
    copy = (folder / "out").read_bytes()
    assert len(copy) == 40 << 20
    assert hashlib.sha256(copy).hexdigest() == view.digest(1000, 40 << 20)
    assert copy[8_999_000:8_999_004] == b"here"
    assert copy[19_999_000:19_999_009] == SOURCES[2][3:12]
    assert copy[14_999_000:14_999_005] == b"there"
    assert copy.count(0) == len(copy) - 4 - 5 - 9 + SOURCES[2][3:12].count(0)
    if base.stat().st_blocks * 512 < 1 << 20:  # this file system has holes
        assert (folder / "out").stat().st_blocks * 512 < 1 << 20


def test_copies_without_the_kernels_help_are_the_same(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(18, "Invalid cross-device link")

    view = DiskView(folder / "source0", ExtentMap(extents_of(folder, [(10, 20, 1, 30)])))
    monkeypatch.setattr("os.copy_file_range", refuse)
    view.write_to(folder / "out", 0, 100)
    assert (folder / "out").read_bytes() == SOURCES[0][:10] + SOURCES[1][30:50] + SOURCES[0][30:] + bytes(4)


def test_view_refuses_parts_that_cannot_be(folder: Path) -> None:
    view = DiskView(folder / "source0", ExtentMap())
    with pytest.raises(ValueError) as refusal:
        view.read(-1, 5)
    assert str(refusal.value) == "A part of a disk cannot begin at -1 and be 5 bytes long."
