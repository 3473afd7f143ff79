# SPDX-License-Identifier: Apache-2.0
"""What a recovery has read and written, and which points its boot decides; held against the disks themselves."""

import random
import zlib

import pytest

from harness.explore.coverage import Coverage, Witness
from harness.explore.recording import Heard, Recording
from harness.explore.space import Space
from harness.explore.static import StaticJudge
from harness.explore.touched import LEFT, READ, READ_THEN_WRITTEN, WRITTEN, Touched
from harness.judge import parse_copy
from harness.storage import CrashPoint, DiskView, crash_extents
from images.layout import SECTOR, Window
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import make

DISK = LAYOUT.disk.size // SECTOR
END = f"virtio_blk_handle_read vdev 0xd req 0x1 sector {DISK - 1} nsectors 1"


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make(tmp_path_factory.mktemp("made") / "recording")


def request(kind: str, sector: int, count: int = 1, device: str = "0xd") -> str:
    return f"virtio_blk_handle_{kind} vdev {device} req 0x1 sector {sector} nsectors {count}"


def test_what_is_read_first_is_told_from_what_is_written_first() -> None:
    trace = [
        request("read", 0, 4), request("write", 2, 4), request("read", 4, 4), END, "qemu: something else",
        request("write", 0, device="0xe"), request("read", 1, device="0xe"),
    ]  # fmt: skip
    sectors = Touched.of(trace, LAYOUT).sectors
    assert list(sectors[:9]) == [READ, READ, *[READ_THEN_WRITTEN] * 2, *[WRITTEN] * 2, READ, READ, LEFT]
    assert len(sectors) == DISK
    assert sectors[-1] == READ
    assert Touched.unpacked(Touched(sectors).packed()) == Touched(sectors)
    with pytest.raises(zlib.error):
        Touched.unpacked(b"no such thing")


def test_what_was_only_written_does_not_matter_nor_what_is_left_in_a_free_slot() -> None:
    slot = LAYOUT.partition("rootfs-b")
    first = (slot.start - LAYOUT.disk.start) // SECTOR
    touched = Touched.of([request("read", first, 2), request("write", first + 1, 7), END], LAYOUT)
    disk, start = LAYOUT.disk, slot.start
    before, behind = Window("matters", disk.start, start - disk.start), start + 8 * SECTOR
    assert touched.matters(LAYOUT, []) == [
        Window("matters", disk.start, start + 2 * SECTOR - disk.start),
        Window("matters", behind, disk.end - behind),
    ]
    after = Window("matters", slot.end, disk.end - slot.end)
    assert touched.matters(LAYOUT, [slot]) == [
        Window("matters", before.start, before.size + 2 * SECTOR), after,
    ]  # fmt: skip


def content(recording: Recording, point: CrashPoint, windows: tuple[Window, ...]) -> list[bytes]:
    view = DiskView(recording.media.base, crash_extents(recording.log, point, LAYOUT))
    copies = [view.read(LAYOUT.card.start + offset, LAYOUT.env_size) for offset in LAYOUT.env_offsets]
    card = [copy if parse_copy(copy, redundant=True).valid else b"damaged" for copy in copies]
    return [*card, *(view.read(one.start, one.size) for one in windows)]


def examined(recording: Recording) -> list[tuple[CrashPoint, Heard]]:
    return [(one.point, one.heard) for one in StaticJudge(recording).judge_all(Space(recording))]


@pytest.mark.parametrize("left_out", ["nothing", "rootfs-b", "data"])
def test_the_points_that_are_decided_agree_with_their_witness_and_all_others_do_not(
    recording: Recording, left_out: str
) -> None:
    places = [*LAYOUT.outside, *(LAYOUT.partition(part.name) for part in LAYOUT.partitions)]
    windows = tuple(one for one in places if one.name != left_out)
    points = random.Random(5).sample(examined(recording), 60)
    chosen = points[:6]
    witnesses = [Witness(str(number), *one, windows) for number, one in enumerate(chosen)]
    wanted = {(one.heard, *content(recording, one.point, windows)) for one in witnesses}
    found = list(Coverage(recording, witnesses).decided(Space(recording)))
    decided = {(point, heard): witness for point, heard, witness in found}
    assert len(decided) == len(found), "each point once"
    for point, heard in points:
        here = content(recording, point, windows)
        assert ((point, heard) in decided) == ((heard, *here) in wanted)
        if (point, heard) in decided:
            witness = decided[point, heard]
            assert (heard, here) == (witness.heard, content(recording, witness.point, windows))
    assert set(chosen) <= set(decided) != set(examined(recording))


def test_without_a_witness_nothing_is_decided(recording: Recording) -> None:
    assert list(Coverage(recording, []).decided(Space(recording))) == []
