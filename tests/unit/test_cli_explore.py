# SPDX-License-Identifier: Apache-2.0
"""`bootproof explore` and `bootproof replay`, called rightly and wrongly, without a board."""

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.exitcodes import ExitCode
from harness.explore.crashid import CrashId
from harness.explore.recording import UBOOT
from harness.explore.stories import STORIES
from harness.storage import CrashPoint
from tests.unit.small_recording import LAYOUT, image, make

FOREIGN = ["explore", "--image", "nowhere.img", "--run", "install", "--old", "a.img", "--new", "b.img"]


def test_the_updates_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["explore", "--list"]) == ExitCode.HELD
    shown = capsys.readouterr().out
    assert all(name in shown for name in STORIES)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (["explore", "manged"], "There is no update 'manged' to explore."),
        (["explore", "--jobs", "0"], "There must be at least one board at a time"),
        (["explore", "--boots", "-1"], "There must be at least one board at a time"),
        (["explore", "--mutant", "none"], "There is no mutant 'none'."),
        (["explore", "--resume", "nowhere"], "There is no folder"),
        (["explore", "--resume", ""], "it must be the name of a folder"),
        (["explore", "rollback", "--resume", "nowhere"], "so 'rollback' cannot be chosen any more."),
        (["explore", "--all-writes", "--resume", "nowhere"], "so --all-writes cannot be chosen any more."),
        (["explore", "--run", "install"], "--run belongs to --image, which is missing."),
        (["explore", "--image", "board.img", "--run", "install"], "--image needs --old, too."),
        ([*FOREIGN, "--mutant", "two-step-flip"], "--image does not go with --mutant."),
        ([*FOREIGN, "--resume", "nowhere"], "so --image cannot be chosen any more."),
        (["explore", "rollback", *FOREIGN[1:]], "--image explores another update than 'rollback'."),
        ([*FOREIGN, "--boots", "-1"], "There must be at least one board at a time"),
        (FOREIGN, "nowhere.img cannot be read: No such file or directory."),
        (["replay", "foreign-1-000000@begin+0"], "of somebody else's update is not below"),
        (["replay", "managed-again-1-000000@begin+0"], "Recording 000000 of a recovery is not below"),
        (["replay", "managed-1-000000@a#0+1"], "is no crash ID such as"),
        (["replay", "managed-1-000000@a+1,lost=1-999999999"], "is no crash ID such as"),
        (["replay", f"managed-{'9' * 5000}-000000@a+1"], "is no crash ID such as"),
        (["replay", "nonsense"], "'nonsense' is no crash ID such as"),
        (["replay", "managed-1-000000@begin+0", "--shell"], "needs a terminal"),
        (["replay", "managed-1-000000@begin+0", "--mutant", "none"], "There is no mutant 'none'."),
    ],
)
def test_wrong_calls(words: list[str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*words, "--runs", str(tmp_path)]) == ExitCode.USAGE
    assert says in capsys.readouterr().err


def test_the_disk_of_a_crash_point_is_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "explored").mkdir()
    recording = make(tmp_path / "explored" / "recording")
    heard = recording.about.heard
    crash_id = CrashId.of(recording, CrashPoint(2, frozenset({1})), heard[0])
    whole = CrashId.of(recording, CrashPoint(recording.about.ended), heard[1])
    slot = LAYOUT.partition("rootfs-b")
    for one, content in ((crash_id, bytes(slot.size)), (whole, image(b"b"))):
        file = tmp_path / "disk.img"
        assert main(["replay", str(one), "--image", str(file), "--runs", str(tmp_path)]) == ExitCode.HELD
        assert file.stat().st_size == LAYOUT.size
        assert file.read_bytes()[slot.start : slot.end] == content
    assert "card: 1048576 bytes from byte 0" in capsys.readouterr().err
    words = ["replay", str(whole), "--image", str(file), "--runs", str(tmp_path), "--json"]
    assert main(words) == ExitCode.HELD
    said = json.loads(capsys.readouterr().out)
    assert (said["crash_id"], said["image"]) == (str(whole), str(file))
    assert said["windows"]["disk"] == {"start": LAYOUT.disk.start, "size": LAYOUT.disk.size}


def test_a_disk_that_cannot_be_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "explored").mkdir()
    recording = make(tmp_path / "explored" / "recording")
    crash_id = str(CrashId.of(recording, CrashPoint(1), recording.about.heard[0]))
    for file, says in (
        (tmp_path / "none" / "disk.img", "is no file that can be written"),
        (tmp_path, "is no file that can be written"),
        (recording.folder / "media.img", "lies within a recording"),
        (recording.folder / "server-0" / "disk.img", "lies within a recording"),
    ):
        assert main(["replay", crash_id, "--image", str(file), "--runs", str(tmp_path)]) == ExitCode.USAGE
        assert says in capsys.readouterr().err


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (lambda name: name.replace("managed-1-", "managed-2-"), "is of 'managed' with seed 1."),
        (lambda name: name.replace("managed-", "rollback-"), "is of 'managed' with seed 1."),
        (lambda name: name.replace("managed-", "managed-again-"), "is of 'managed' with seed 1."),
        (lambda name: re.sub("...@", "000@", name), "not 000."),
        (lambda name: name.replace("+2", "+2,lost=1-9"), "cannot be lost at position"),
        (lambda name: name.replace("+2", "+2,torn=2:100000000"), "is no point of its recording"),
        (lambda name: name.replace("+2", "+2,heard"), "No report was on its way"),
        (lambda name: name.replace("slot.write", "slot.write#7"), "names the step 'slot.write' 1 times, not 7"),
        (lambda name: name.replace("slot.write", "begin#7"), "names the step 'begin' 0 times, not 7"),
    ],
)
def test_a_mistyped_crash_id(
    wrong: Callable[[str], str], says: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = make(tmp_path / "recording")
    name = str(CrashId.of(recording, CrashPoint(3), recording.about.heard[0]))
    assert "slot.write+2" in name
    words = ["--image", str(tmp_path / "disk.img"), "--runs", str(tmp_path)]
    assert main(["replay", wrong(name), *words]) == ExitCode.USAGE
    assert says in capsys.readouterr().err
    assert not (tmp_path / "disk.img").exists()


@pytest.mark.parametrize("same", [True, False])
def test_what_is_recorded_anew_must_be_made_of_the_same_things(
    same: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    recording = make(tmp_path / "recording")
    crash_id = str(CrashId.of(recording, CrashPoint(2), recording.about.heard[0]))
    anew = make(tmp_path / "anew", trial=False)
    if not same:
        (anew.folder / UBOOT).write_bytes(b"another bootloader")
    monkeypatch.setattr("harness.commands.explore.recorded", lambda *_: (tmp_path, anew))
    (tmp_path / "nothing").mkdir()
    words = ["replay", crash_id, "--image", str(tmp_path / "disk.img"), "--runs", str(tmp_path / "nothing")]
    assert main(words) == (ExitCode.HELD if same else ExitCode.USAGE)
    said = capsys.readouterr().err
    assert ("are not those of" in said) != same
