# SPDX-License-Identifier: Apache-2.0
"""A recording that is packed, sent and unpacked is the same one."""

import os
import shutil
from pathlib import Path

import pytest

from harness.errors import HostProblem, UsageError
from harness.explore import archive
from harness.explore.archive import found, pack, packed_name, unpack
from harness.explore.recording import MEDIA, Recording
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import make


def test_there_and_back(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    (recording.folder / "server-0").mkdir()
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
    with pytest.raises(UsageError, match="holds no recording"):
        found(tmp_path / "nowhere")


def test_what_was_interrupted_is_not_taken_for_a_recording(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of its large files the end may be missing; packed it is whole."""
    packed = pack(make(tmp_path / "recording"))

    def interrupted(command: list[str | Path]) -> None:
        really(command)
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
