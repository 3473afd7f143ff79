# SPDX-License-Identifier: Apache-2.0
"""A recording that is packed, sent and unpacked is the same one."""

import os
import shutil
from pathlib import Path

import pytest

from harness.errors import HostProblem, UsageError
from harness.explore import archive
from harness.explore.alone import alone
from harness.explore.archive import found, pack, packed_name, unpack
from harness.explore.recording import LOG, MEDIA, UBOOT, Recording
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import make


def test_there_and_back(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    (recording.folder / "server-0" / "state").write_text("state")
    identity, media = recording.identity, (recording.folder / MEDIA).read_bytes()
    packed = pack(recording)
    assert [path.name for path in tmp_path.iterdir()] == [packed_name(identity)]
    assert packed.stat().st_size < len(media) // 10
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    sent = shutil.move(packed, elsewhere / packed.name)
    again = unpack(sent)
    assert unpack(sent).folder == again.folder, "once is enough"
    assert again.identity == identity
    assert (again.folder / MEDIA).read_bytes() == media
    assert (again.folder / MEDIA).stat().st_blocks * 512 < len(media) // 2, "what is empty takes no room"
    assert (again.folder / "server-0" / "state").read_text() == "state"


def test_a_run_folder_holds_one_packed_or_not(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    assert found(tmp_path).identity == recording.identity
    identity = recording.identity
    pack(recording)
    assert found(tmp_path).identity == identity
    with pytest.raises(UsageError, match="There is no folder"):
        found(tmp_path / "nowhere")


@pytest.mark.parametrize("harm", ["short", "gone", "empty"])
def test_a_damaged_folder_is_not_taken_for_what_is_packed(tmp_path: Path, harm: str) -> None:
    """Nor is what is packed ever replaced by it."""
    recording = make(tmp_path / "recording")
    whole = (recording.folder / MEDIA).read_bytes()
    packed = pack(recording)
    content = packed.read_bytes()
    folder = unpack(packed).folder
    if harm == "short":
        os.truncate(folder / MEDIA, 4096)
    elif harm == "gone":
        (folder / UBOOT).unlink()
    else:
        shutil.rmtree(folder)
        folder.mkdir()
    again = found(tmp_path)
    assert (again.folder / MEDIA).read_bytes() == whole
    assert pack(again) == packed
    assert packed.read_bytes() == content


def test_what_is_packed_is_made_anew_if_it_is_damaged(tmp_path: Path) -> None:
    packed = pack(make(tmp_path / "recording"))
    identity = unpack(packed).identity
    os.truncate(packed, packed.stat().st_size // 2)
    pack(found(tmp_path))
    assert not (tmp_path / "recording").exists()
    assert unpack(packed).identity == identity


def test_two_recordings_are_not_mixed(tmp_path: Path) -> None:
    pack(make(tmp_path / "recording"))
    make(tmp_path / "recording", trial=False)
    with pytest.raises(HostProblem, match="are two recordings"):
        found(tmp_path)


@pytest.mark.parametrize(("name", "says"), [(MEDIA, "media.img has 4096 bytes instead of"), (LOG, "is damaged: ")])
def test_a_damaged_recording_is_refused(tmp_path: Path, name: str, says: str) -> None:
    recording = make(tmp_path / "recording")
    os.truncate(recording.folder / name, 4096)
    with pytest.raises(UsageError, match=says):
        found(tmp_path)


def test_one_program_at_a_time(tmp_path: Path) -> None:
    with alone(tmp_path), pytest.raises(UsageError, match="Another bootproof works in"), alone(tmp_path):
        pass
    with alone(tmp_path):
        pass
    with pytest.raises(UsageError, match="There is no folder"), alone(tmp_path / "nowhere"):
        pass


def test_what_was_interrupted_is_not_taken_for_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its large files the end may be missing; packed it is whole."""
    packed = pack(make(tmp_path / "recording"))

    def interrupted(command: list[str | Path], cwd: Path) -> None:
        really(command, cwd=cwd)
        os.truncate(Path(command[4], "recording", MEDIA), 4096)
        raise KeyboardInterrupt

    really = archive.run
    with monkeypatch.context() as patch:
        patch.setattr(archive, "run", interrupted)
        with pytest.raises(KeyboardInterrupt):
            unpack(packed)
    assert [path.name for path in tmp_path.iterdir()] == [packed.name]
    assert (found(tmp_path).folder / MEDIA).stat().st_size == LAYOUT.size


@pytest.mark.parametrize(("first", "kept"), [(b"x", 1.0), (b"", 0.5), (b"", 0.0)])
def test_a_damaged_file_is_refused(tmp_path: Path, first: bytes, kept: float) -> None:
    packed = pack(make(tmp_path / "recording"))
    data = packed.read_bytes()
    packed.write_bytes((first + data[len(first) :])[: int(len(data) * kept)])
    with pytest.raises(UsageError, match="cannot be unpacked"):
        unpack(packed)


def test_a_recording_that_cannot_be_packed_is_still_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recording = make(tmp_path / "recording")
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(HostProblem, match="cannot be packed"):
        pack(recording)
    assert Recording(recording.folder).identity
    assert not list(tmp_path.glob("*.zst"))
