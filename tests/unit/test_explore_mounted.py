# SPDX-License-Identifier: Apache-2.0
"""Points that a mount could not tell apart, against e2fsprogs, which looks at each of them."""

import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.explore.contents import Contents
from harness.explore.coverage import Coverage, Witness
from harness.explore.mounted import Mounted
from harness.explore.recording import Heard, Recording
from harness.explore.space import Space
from harness.explore.static import StaticJudge
from harness.judge.filesystem import BLOCK
from harness.lab.device import keepsakes
from harness.storage import CrashPoint, Kind
from images import ext4
from images.layout import SECTOR
from images.run import run
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import SEED, STORE, kept, make, store
from tests.unit.write_logs import FLUSH, flag, write

DATA = LAYOUT.partition("data")


def blocks(content: bytes) -> list[bytes]:
    return [content[at : at + BLOCK] for at in range(0, len(content), BLOCK)]


def written(block: int, content: bytes) -> bytes:
    return write((DATA.start + block * BLOCK) // SECTOR, content)


def replaces_the_store(media: Path) -> Iterator[bytes]:
    """A new file in place of the updater's, as ext4 does it: contents, journal, flush, and then all to its place."""
    before, after, journalled = (media.with_suffix(f".{name}") for name in ("before", "after", "journalled"))
    before.write_bytes(media.read_bytes()[DATA.start : DATA.end])
    shutil.copyfile(before, after)
    shutil.copyfile(before, journalled)
    ext4.edit(after, [ext4.Edit(f"/{STORE}", store("update-install", 2))])
    old, new = blocks(before.read_bytes()), blocks(after.read_bytes())
    changed = [number for number, content in enumerate(new) if content != old[number]]
    contents = [number for number in changed if not any(old[number])]
    metadata = [number for number in changed if number not in contents]
    source = media.with_suffix(".metadata")
    source.write_bytes(b"".join(new[number] for number in metadata))
    script = media.with_suffix(".script")
    script.write_text(f"jo\njw -b {','.join(map(str, metadata))} {source}\njc\n")
    run(["debugfs", "-w", "-f", script, journalled])
    yield from (written(number, new[number]) for number in contents)
    for number, content in enumerate(blocks(journalled.read_bytes())):
        if content != old[number]:
            yield written(number, content)
    yield flag(FLUSH)
    yield from (written(number, new[number]) for number in metadata)


def all_points(recording: Recording) -> Iterator[tuple[CrashPoint, Heard]]:
    """In the order of the log."""
    return ((one.point, one.heard) for one in StaticJudge(recording).judge_all(Space(recording)))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return kept(tmp_path_factory.mktemp("mounted") / "recording", replaces_the_store)


def test_what_has_one_key_is_one_to_e2fsprogs(recording: Recording) -> None:
    judge, contents = StaticJudge(recording), Contents(recording, [])
    seen: dict[bytes | int, object] = {}
    points = 0
    for position in range(recording.about.began, recording.about.ended + 1):
        contents.go_to(position)
        for point in Space(recording).points(position, contents.epoch, contents.card):
            key = contents.mounted(point)
            assert isinstance(key, bytes)
            found = judge._look_at_data(point)
            assert seen.setdefault(key, found) == found, f"{point} is not what its key says"
            points += 1
    assert 2 <= len(seen) <= points / 4
    stores = {getattr(one, "store", None) for one in seen.values()}
    assert len(stores) >= 2, "the old record, and the new one"


def test_a_key_does_not_depend_on_the_way(recording: Recording) -> None:
    """What was written and lost was never written; what is in the journal is as good as what is in its place."""
    contents = Contents(recording, [])
    contents.go_to(0)
    first = contents.mounted(CrashPoint(0))
    flushed = next(one.index for one in recording.operations if one.kind.name == "FLUSH")
    contents.go_to(flushed)
    assert contents.mounted(CrashPoint(flushed, frozenset(range(flushed)))) == first
    contents.go_to(flushed + 1)
    done = contents.mounted(CrashPoint(flushed + 1))
    assert done != first
    contents.go_to(recording.about.ended)
    rest = range(flushed + 1, recording.about.ended)
    for lost in (range(0), rest, rest[:1]):
        assert contents.mounted(CrashPoint(recording.about.ended, frozenset(lost))) == done


def test_where_it_is_not_known_what_a_mount_finds_there_is_no_key(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    with (recording.folder / "media.img").open("r+b") as out:
        out.seek(DATA.start)
        out.write(bytes(BLOCK))
    assert Mounted(Recording(recording.folder)).key(CrashPoint(0)) is None


@pytest.fixture(scope="module")
def overwritten(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    """A block of the owner's letter is free for the bitmap, and then it is written over."""

    def entries(media: Path) -> Iterator[bytes]:
        before = media.read_bytes()[DATA.start : DATA.end]
        block = before.index(keepsakes(SEED)["keepsake/letter.txt"]) // BLOCK
        after = media.with_suffix(".freed")
        after.write_bytes(before)
        run(["debugfs", "-w", "-R", f"freeb {block}", after])
        for number, (was, content) in enumerate(zip(blocks(before), blocks(after.read_bytes()), strict=True)):
            if was != content:
                yield written(number, content)
        yield flag(FLUSH)
        yield written(block, b"X" * BLOCK)
        yield flag(FLUSH)

    return kept(tmp_path_factory.mktemp("overwritten") / "recording", entries)


def test_where_the_bitmaps_are_wrong_every_content_is_looked_at(overwritten: Recording) -> None:
    about = overwritten.about
    freed = next(one.index for one in overwritten.operations if one.kind is Kind.FLUSH)
    contents, judge, says = Contents(overwritten, []), StaticJudge(overwritten), []
    keys = set()
    for position in (freed, about.ended):
        contents.go_to(position)
        judge.go_to(position)
        keys.add(contents.mounted(CrashPoint(position)))
        says.append(judge.judge(CrashPoint(position), about.heard[0]).verdict.sentence)
    assert len(keys) == 1, "the bitmap has it that nobody uses that block"
    assert "letter" not in says[0]
    assert "letter.txt on the data partition has changed" in says[1]
    for whole in (True, False):
        witness = Witness("freed", CrashPoint(freed), about.heard[0], (DATA,), whole)
        decided = {point for point, _, _ in Coverage(overwritten, [witness]).decided(Space(overwritten))}
        assert (CrashPoint(about.ended) in decided) == whole, "so such a boot speaks for the very same content only"
        assert CrashPoint(freed) in decided


def test_a_boot_decides_all_that_a_mount_could_not_tell_apart(recording: Recording) -> None:
    """The whole disk counts; so without that the first point would decide none but those that lost everything."""
    contents, first = Contents(recording, []), recording.about.heard[0]
    witness = Witness("first", CrashPoint(0), first, (LAYOUT.disk,))
    decided = {point for point, _, _ in Coverage(recording, [witness]).decided(Space(recording))}
    wanted = set()
    contents.go_to(0)
    begun = contents.mounted(CrashPoint(0))
    for point, heard in all_points(recording):
        contents.go_to(point.position)
        if heard == first and contents.mounted(point) == begun:
            wanted.add(point)
    assert decided == wanted
    assert len(decided) > len({point for point in decided if len(point.lost) == point.position})
