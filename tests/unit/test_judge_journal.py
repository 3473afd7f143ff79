# SPDX-License-Identifier: Apache-2.0
"""What a journal would bring to its place, against e2fsprogs: it writes the journals, and replays them."""

import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from harness.judge import journal
from harness.judge.filesystem import BLOCK, Filesystem, must_recover
from images import ext4
from images.layout import MIB
from images.run import run

UUID = "b007b007-0000-4000-8000-0000000000ff"
BLOCKS = range(3000, 3040)  # in use by nothing: what is there is not looked at by e2fsck
LATER = settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@dataclass(frozen=True)
class Transaction:
    """What is written to which blocks, and which are revoked."""

    written: tuple[int, ...]
    byte: int
    revoked: tuple[int, ...] = ()


transactions = st.lists(
    st.builds(
        Transaction,
        st.lists(st.sampled_from(BLOCKS), min_size=1, max_size=6, unique=True).map(tuple),
        st.integers(0, 255),
        st.lists(st.sampled_from(BLOCKS), max_size=3, unique=True).map(tuple),
    ),
    min_size=1,
    max_size=6,
)
damages = st.lists(st.tuples(st.integers(0, 40), st.sampled_from((0, 512, 1024, 4000))), max_size=3)


@pytest.fixture(scope="module", params=["^64bit", "64bit"])
def empty(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file system with a journal that is empty."""
    image = tmp_path_factory.mktemp("ext4") / "empty.img"
    with image.open("wb") as out:
        out.truncate(16 * MIB)
    options = f"has_journal,^metadata_csum,^resize_inode,^orphan_file,{request.param}"
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "4096", "-U", UUID, "-O", options, "-J", "size=4", image])
    return image


def written(image: Path, wanted: Sequence[Transaction], folder: Path) -> None:
    """Have debugfs write the transactions to the journal, and nowhere else."""
    commands = ["jo"]
    for number, one in enumerate(wanted):
        source = folder / f"blocks-{number}"
        escaped = journal.MAGIC.to_bytes(4, "big") if one.byte % 5 == 0 else b""
        source.write_bytes(
            b"".join((escaped + bytes([one.byte, place - BLOCKS.start])).ljust(BLOCK, b"=") for place in one.written)
        )
        if one.revoked:
            commands.append(f"jw -r {','.join(map(str, one.revoked))}")
        commands.append(f"jw -b {','.join(map(str, one.written))} {source}")
    script = folder / "script"
    script.write_text("\n".join([*commands, "jc"]) + "\n")
    run(["debugfs", "-w", "-f", script, image])


def reader(content: bytes) -> Callable[[int], bytes]:
    return lambda block: content[block * BLOCK : (block + 1) * BLOCK]


def replayed(content: bytes) -> dict[int, bytes]:
    """The blocks with which a mount would begin, as they are foretold."""
    read = reader(content)
    known = Filesystem.found(read)
    assert known is not None
    copied = journal.recovered(known.journal, read) if must_recover(read(0)) else {}
    return {
        block: journal.unescaped(read(one.source)) if one.escaped else read(one.source) for block, one in copied.items()
    }


def differ(content: bytes, image: Path) -> dict[int, bytes]:
    """The blocks of BLOCKS that e2fsck has changed."""
    read, now = reader(content), reader(image.read_bytes())
    return {block: now(block) for block in BLOCKS if now(block) != read(block)}


@LATER
@given(transactions, damages)
def test_it_is_what_e2fsck_brings_there(
    empty: Path, tmp_path: Path, wanted: list[Transaction], damaged: list[tuple[int, int]]
) -> None:
    image = tmp_path / "image"
    shutil.copyfile(empty, image)
    written(image, wanted, tmp_path)
    places = Filesystem.found(reader(image.read_bytes()))
    assert places is not None
    with image.open("r+b") as out:
        for block, at in damaged:  # from there on, what was there before is still there
            out.seek(places.journal[1 + block] * BLOCK + at)
            out.write(bytes(BLOCK - at))
    content = image.read_bytes()
    foretold = replayed(content)
    ext4.replay(image)
    changed = {block: now for block, now in foretold.items() if now != reader(content)(block)}
    assert changed == differ(content, image)


def test_a_revoked_block_is_left_alone(empty: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    shutil.copyfile(empty, image)
    written(image, [Transaction((3000, 3001), 1), Transaction((3002,), 2, revoked=(3001,))], tmp_path)
    assert set(replayed(image.read_bytes())) == {3000, 3002}


def test_a_journal_at_rest_brings_nothing(empty: Path) -> None:
    assert replayed(empty.read_bytes()) == {}


@pytest.mark.parametrize(("at", "byte"), [(0, 0), (7, 3), (43, 0x10), (43, 0x24), (15, 1), (23, 0)])
def test_what_is_not_known_is_refused(empty: Path, tmp_path: Path, at: int, byte: int) -> None:
    """Another magic, an old version, checksums, fast commits, another block size, a ring that begins nowhere."""
    image = tmp_path / "image"
    shutil.copyfile(empty, image)
    written(image, [Transaction((3000,), 1)], tmp_path)
    content = bytearray(image.read_bytes())
    known = Filesystem.found(reader(content))
    assert known is not None
    content[known.journal[0] * BLOCK + at] = byte
    with pytest.raises(journal.UnknownJournal):
        journal.recovered(known.journal, reader(bytes(content)))


def test_other_file_systems_are_not_known(tmp_path: Path) -> None:
    assert Filesystem.found(reader(bytes(MIB))) is None
    image = tmp_path / "image"
    with image.open("wb") as out:
        out.truncate(8 * MIB)
    run(["mke2fs", "-q", "-F", "-t", "ext4", "-b", "1024", image])
    assert Filesystem.found(reader(image.read_bytes())) is None


def test_the_bitmaps_say_what_is_used(empty: Path) -> None:
    read = reader(empty.read_bytes())
    known = Filesystem.found(read)
    assert known is not None
    bitmaps = {group: read(block) for group, block in known.bitmaps.items()}
    free = run(["debugfs", "-R", "stats", empty]).partition("Free blocks:")[2].split()[0]
    total = 16 * MIB // BLOCK
    assert sum(not known.is_used(block, bitmaps) for block in range(total)) == int(free)
    assert all(known.is_used(block, bitmaps) for block in (0, *known.journal))
