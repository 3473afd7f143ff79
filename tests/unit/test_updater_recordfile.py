# SPDX-License-Identifier: Apache-2.0
"""A record that is replaced in place: the old one or the new one, whatever happens in between."""

import errno
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from updater.errors import StoreError
from updater.recordfile import HEAD, PLACE, RecordFile, write_durably


@pytest.fixture
def file(tmp_path: Path) -> RecordFile:
    return RecordFile(tmp_path / "record")


def test_the_newest_record_counts(file: RecordFile) -> None:
    assert file.read() is None
    for number in range(7):
        content = f"record {number} ".encode() * (7 - number)
        file.write(content)
        assert RecordFile(file.path).read() == content
    assert file.path.stat().st_size == 2 * PLACE
    file.remove()
    assert file.read() is None


@settings(max_examples=200, derandomize=True, deadline=None)
@given(st.binary(max_size=3000), st.binary(max_size=3000), st.data())
def test_a_write_that_was_cut_or_torn_anywhere_leaves_the_old_record(
    old: bytes, new: bytes, data: st.DataObject
) -> None:
    """Any subset of the sectors of the new record may have reached the medium, and one of them in part."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = RecordFile(Path(folder, "record"))
        file.write(b"older")
        file.write(old)
        before = file.path.read_bytes()
        file.write(new)
        after = bytearray(file.path.read_bytes())
        changed = [at for at in range(0, len(after), 512) if after[at : at + 512] != before[at : at + 512]]
        lost = data.draw(st.sets(st.sampled_from(changed)) if changed else st.just(set()))
        for at in lost:
            keep = data.draw(st.sampled_from([0, 0, 1, 100, 511]))
            after[at + keep : at + 512] = before[at + keep : at + 512]
        file.path.write_bytes(after)
        assert RecordFile(file.path).read() in ((old, new) if lost else (new,))


@settings(max_examples=100, derandomize=True, deadline=None)
@given(st.integers(0, 2 * PLACE - 1), st.integers(1, 255))
def test_one_damaged_byte_costs_one_record_at_most(place: int, change: int) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        file = RecordFile(Path(folder, "record"))
        for content in (b"first" * 500, b"second" * 500):
            file.write(content)
        raw = bytearray(file.path.read_bytes())
        raw[place] ^= change
        file.path.write_bytes(raw)
        assert file.read() in (b"first" * 500, b"second" * 500)


@pytest.mark.parametrize("content", [b"", bytes(2 * PLACE), b"junk", b"\xff" * (2 * PLACE)])
def test_a_file_without_any_record_is_damaged_and_not_new(content: bytes, file: RecordFile) -> None:
    file.path.write_bytes(content)
    with pytest.raises(StoreError, match="none of its records is whole"):
        file.read()


def test_what_does_not_fit_is_refused_and_nothing_is_lost(file: RecordFile) -> None:
    file.write(b"small")
    file.write(b"x" * (PLACE - HEAD.size))
    with pytest.raises(StoreError, match="grown beyond"):
        file.write(b"x" * (PLACE - HEAD.size + 1))
    assert file.read() == b"x" * (PLACE - HEAD.size)


def test_once_it_is_there_it_needs_no_room(file: RecordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    """One write of what is there already, and one flush."""
    file.write(b"first")
    did: list[str] = []
    pwrite, fdatasync = os.pwrite, os.fdatasync

    def noted_write(fd: int, content: bytes, at: int) -> int:
        assert at + len(content) <= os.fstat(fd).st_size, "the file does not grow"
        did.append(f"write at {at}")
        return pwrite(fd, content, at)

    def noted_flush(fd: int) -> None:
        did.append("flush")
        fdatasync(fd)

    monkeypatch.setattr(os, "pwrite", noted_write)
    monkeypatch.setattr(os, "fdatasync", noted_flush)
    file.write(b"second" * 700)
    file.write(b"third")
    assert did == [f"write at {PLACE}", "flush", "write at 0", "flush"]


def test_a_file_that_cannot_be_made(file: RecordFile, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with pytest.raises(StoreError, match="cannot be written: No space left on device"):
        file.write(b"x")
    assert file.read() is None


def test_a_whole_file_is_content_then_name_then_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    did: list[str] = []
    fsync, replace = os.fsync, Path.replace

    def noted_fsync(fd: int) -> None:
        did.append("flush directory" if Path(f"/proc/self/fd/{fd}").is_dir() else f"flush {os.fstat(fd).st_size}")
        fsync(fd)

    def noted_replace(path: Path, target: Path) -> Path:
        did.append(f"{path.name} to {target.name}")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    write_durably(tmp_path / "file", b"abc", mode=0o600)
    assert did == ["flush 3", "file.new to file", "flush directory"]
    assert (tmp_path / "file").stat().st_mode & 0o777 == 0o600
