# SPDX-License-Identifier: Apache-2.0
"""The write log and the mark strip: golden bytes, a log made by QEMU itself, growing logs and damaged ones."""

import shutil
import struct
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.storage import Kind, LogError, Mark, Operation, WriteLog, decode, encode, flushes, marks
from images.layout import Layout, Window
from tests.unit.write_logs import FLUSH, FUA, MARK, SECTOR, entry, superblock, write, write_log

TINY = Layout(Window("card", 0, 4096), Window("disk", 4096, 8192), Window("marks", 12288, 8192), (), (0,), 512)


def log_of(path: Path, *entries: bytes) -> WriteLog:
    write_log(path, *entries)
    return WriteLog(path)


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "run.log"


def test_golden_bytes(path: Path) -> None:
    golden = (
        bytes.fromhex("7268737766736a00" "0100000000000000" "0400000000000000" "00020000") + bytes(484)
        + bytes.fromhex("0300000000000000" "0200000000000000" "0000000000000000" "0000000000000000") + bytes(480)
        + b"x" * 1024
        + bytes.fromhex("0000000000000000" "0000000000000000" "0100000000000000" "0000000000000000") + bytes(480)
        + bytes.fromhex("0800000000000000" "1000000000000000" "0400000000000000" "0000000000000000") + bytes(480)
        + bytes.fromhex("0900000000000000" "0100000000000000" "0200000000000000" "0000000000000000") + bytes(480)
        + b"y" * 512
    )  # fmt: skip
    path.write_bytes(golden)
    with WriteLog(path) as log:
        assert log.finish() == log.operations
        assert log.operations == [
            Operation(0, Kind.WRITE, 3 * SECTOR, 1024, 1024),
            Operation(1, Kind.FLUSH, 0, 0, 0),
            Operation(2, Kind.DISCARD, 8 * SECTOR, 16 * SECTOR, 0),
            Operation(3, Kind.WRITE, 9 * SECTOR, 512, 3584, fua=True),
        ]
        assert [log.data(operation) for operation in log.operations] == [b"x" * 1024, b"", b"", b"y" * 512]
        assert flushes(log.operations) == 1


def test_flush_that_carries_data_is_a_flush_and_then_a_write(path: Path) -> None:
    with log_of(path, write(1, b"a" * SECTOR, FLUSH | FUA), entry(0, 0, FLUSH)) as log:
        assert [(op.kind, op.index, op.fua) for op in log.finish()] == [
            (Kind.FLUSH, 0, False),
            (Kind.WRITE, 1, True),
            (Kind.FLUSH, 2, False),
        ]


def test_marks_of_the_format_are_no_operations(path: Path) -> None:
    with log_of(path, entry(0, 0, MARK), write(1, b"a" * SECTOR)) as log:
        assert [op.kind for op in log.finish()] == [Kind.WRITE]


@pytest.mark.skipif(shutil.which("qemu-io") is None, reason="qemu-io is not installed")
def test_log_made_by_qemu(tmp_path: Path, path: Path) -> None:
    image = tmp_path / "image"
    image.write_bytes(bytes(1 << 20))
    path.touch()
    options = (
        f"driver=blklogwrites,file.driver=file,file.filename={image},log.driver=file,log.filename={path},"
        "log-sector-size=512,log-super-update-interval=1"
    )
    commands = ["write -P 0x5a 4096 1024", "flush", "write -z 8192 4096", "discard 0 65536", "write -P 7 512 512"]
    arguments = [argument for command in commands for argument in ("-c", command)]
    subprocess.run(["qemu-io", "--image-opts", options, *arguments], check=True, capture_output=True)
    with WriteLog(path) as log:
        log.finish()
        seen = [(op.kind, op.address, op.length, log.data(op)) for op in log.operations]
    assert seen[:5] == [
        (Kind.WRITE, 4096, 1024, b"\x5a" * 1024),
        (Kind.FLUSH, 0, 0, b""),
        (Kind.WRITE, 8192, 4096, bytes(4096)),
        (Kind.DISCARD, 0, 65536, b""),
        (Kind.WRITE, 512, 512, b"\x07" * 512),
    ]
    assert {kind for kind, *_ in seen[5:]} <= {Kind.FLUSH}  # closing the image flushes


def test_polling_a_growing_log(path: Path) -> None:
    first, second = write(1, b"a" * SECTOR), write(2, b"b" * 1024)
    path.touch()
    with WriteLog(path) as log, path.open("r+b", buffering=0) as file:
        assert log.poll() == []  # nothing written at all
        file.write(bytes(SECTOR) + first)
        assert log.poll() == []  # no superblock yet
        file.seek(0)
        file.write(superblock(1))
        assert [op.address for op in log.poll()] == [SECTOR]
        assert log.poll() == []
        file.seek(16)
        file.write(struct.pack("<Q", 2))
        assert (log.poll(), log.pending) == ([], 1)  # counted, but not there
        file.seek(2 * SECTOR + len(second[:SECTOR]))
        file.write(second[:-1])
        assert (log.poll(), log.pending) == ([], 1)  # counted, but half
        file.write(second[-1:])
        assert [(op.index, log.data(op)) for op in log.poll()] == [(1, b"b" * 1024)]
        file.seek(16)
        file.write(struct.pack("<Q", 1))
        assert (log.poll(), log.pending) == ([], 0)  # an older superblock, written late
        assert len(log.operations) == 2


def test_entry_that_is_still_a_hole_is_waited_for(path: Path) -> None:
    first, second = write(1, b"a" * SECTOR), write(2, b"b" * SECTOR)
    path.write_bytes(superblock(2) + bytes(len(first)) + second)
    with WriteLog(path) as log, path.open("r+b", buffering=0) as file:
        assert (log.poll(), log.pending) == ([], 2)
        file.seek(SECTOR)
        file.write(first)
        assert [op.address for op in log.poll()] == [SECTOR, 2 * SECTOR]


@given(cut=st.integers(0, 5 * SECTOR))
def test_log_cut_short_gives_a_prefix(cut: int, tmp_path_factory: pytest.TempPathFactory) -> None:
    path = tmp_path_factory.getbasetemp() / "cut.log"
    whole = superblock(2) + write(1, b"a" * SECTOR) + write(2, b"b" * SECTOR)
    path.write_bytes(whole[:cut])
    with WriteLog(path) as log:
        log.poll()
        assert [op.address for op in log.operations] == [SECTOR, 2 * SECTOR][: max(cut // SECTOR - 1, 0) // 2]
        if cut == len(whole):
            log.finish()
        else:
            with pytest.raises(LogError):
                log.finish()


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (superblock(0, magic=1), "run.log is no write log: its magic is 0x1, not 0x6a736677736872."),
        (superblock(0, version=2), "run.log has log version 2; only version 1 is known."),
        (superblock(0, sector=4096), "run.log has log sectors of 4096 bytes; 512 are required."),
        (superblock(1) + entry(0, 0, 64), "run.log has unknown flags 0x40 in the entry at byte 512."),
        (
            superblock(1) + entry(5, 1 << 60),
            f"run.log has an impossible entry at byte 512: {1 << 60} sectors at sector 5.",
        ),
        (
            superblock(2) + entry(0, 0, FLUSH) + entry(3, 1, 0, b"half"),
            "run.log announces 2 entries but holds 1: the one at byte 1024 is missing or incomplete.",
        ),
        (b"", "run.log holds no log: its superblock was never written."),
    ],
)
def test_damaged_logs_are_refused(path: Path, content: bytes, says: str) -> None:
    path.write_bytes(content)
    with WriteLog(path) as log, pytest.raises(LogError) as refusal:
        log.finish()
    assert str(refusal.value) == says


def test_log_that_shrinks_is_refused(path: Path) -> None:
    with log_of(path, write(1, b"a" * SECTOR)) as log:
        (operation,) = log.finish()
        path.write_bytes(path.read_bytes()[:-1])
        with pytest.raises(LogError) as refusal:
            log.data(operation)
        assert str(refusal.value) == "run.log ends inside the data of operation 0."
        path.write_bytes(b"")
        with pytest.raises(LogError) as refusal:
            log.poll()
        assert str(refusal.value) == "run.log has lost its superblock."


def test_mark_golden_bytes() -> None:
    assert encode(7, "commit") == b"bootproof-mark\n7\ncommit\n" + bytes(488)


@given(number=st.integers(0, 1 << 64), name=st.text(min_size=1, max_size=100))
def test_marks_survive_encoding(number: int, name: str) -> None:
    try:
        data = encode(number, name)
    except ValueError:
        assert "\n" in name or "\0" in name
        return
    assert len(data) == SECTOR
    assert decode(data) == Mark(number, name)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(512),
        encode(1, "a")[:-1],
        encode(1, "a") + b"\0",
        encode(1, "a").replace(b"\n1\n", b"\n01\n"),
        encode(1, "a").replace(b"\n1\n", b"\n-1\n"),
        encode(1, "a").replace(b"\n1\n", b"\nx\n"),
        encode(1, "a").replace(b"mark", b"marc"),
        encode(1, "ab").replace(b"b", b"\xff"),
        encode(1, "ab").replace(b"b", b"\n"),
        encode(1, "ab").replace(b"b", b"\0"),
        encode(1, "a")[:-1] + b"x",
        b"bootproof-mark\n1\n\n".ljust(512, b"\0"),
    ],
)
def test_what_is_no_mark(data: bytes) -> None:
    assert decode(data) is None


@pytest.mark.parametrize(
    ("number", "name", "says"),
    [
        (-1, "a", "A mark's number cannot be negative: -1."),
        (1, "", "A mark's name must be one line of text: ''."),
        (1, "a\nb", "A mark's name must be one line of text: 'a\\nb'."),
        (1, "a" * 495, "A mark must fit into 512 bytes; this one takes 513."),
    ],
)
def test_marks_that_cannot_be_written(number: int, name: str, says: str) -> None:
    with pytest.raises(ValueError) as refusal:
        encode(number, name)
    assert str(refusal.value) == says


def test_marks_stand_in_the_log_with_their_positions(path: Path) -> None:
    strip = TINY.marks.start // SECTOR
    page = encode(3, "third") + encode(1, "first") + bytes(6 * SECTOR)
    later = encode(3, "third") + encode(4, "fourth") + bytes(6 * SECTOR)
    entries = [
        write(strip + 1, encode(1, "first")),
        write(8, encode(9, "not on the strip")),
        entry(0, 0, FLUSH),
        write(strip, encode(2, "second")),
        write(strip, encode(2, "second")),  # said twice
        write(strip, page),  # a page: repeats what stands there
        write(strip, later),
        write(strip, bytes(SECTOR)),
    ]
    with log_of(path, *entries) as log:
        log.finish()
        assert marks(log, TINY) == [
            (1, Mark(1, "first")),
            (4, Mark(2, "second")),
            (5, Mark(2, "second")),
            (6, Mark(3, "third")),
            (7, Mark(4, "fourth")),
        ]
