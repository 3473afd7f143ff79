# SPDX-License-Identifier: Apache-2.0
"""What an exploration keeps, and what is left of it after a disk that was full, or somebody who edited it."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from harness.cli import main
from harness.errors import UsageError
from harness.exitcodes import ExitCode
from harness.explore.exploration import Exploration
from harness.explore.notes import Notes
from harness.explore.plan import Plan
from tests.unit.small_recording import make

PLAN, BOOTS = "plan.json", "boots.jsonl"


def test_a_line_that_was_cut_short_is_taken_away(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    assert notes.lines(BOOTS) == []
    for number in range(2):
        notes.add(BOOTS, {"number": number})
    with (tmp_path / BOOTS).open("a") as out:
        out.write('{"number": 2')
    assert notes.lines(BOOTS) == [{"number": 0}, {"number": 1}]
    notes.add(BOOTS, {"number": 3})
    assert notes.lines(BOOTS) == [{"number": 0}, {"number": 1}, {"number": 3}]


def test_what_is_kept_is_read(tmp_path: Path) -> None:
    notes = Notes(tmp_path)
    assert notes.read("one.json", {"nothing": 0}) == {"nothing": 0}
    notes.keep("one.json", {"something": 1})
    assert notes.read("one.json", {"nothing": 0}) == {"something": 1}
    with pytest.raises(UsageError, match=r"one.json is damaged: it holds no list"):
        notes.read("one.json", [])
    assert [path.name for path in tmp_path.iterdir()] == ["one.json"]


@pytest.fixture
def explored(tmp_path: Path) -> Path:
    """One that is done, without a boot."""
    folder = tmp_path / "explored"
    folder.mkdir()
    exploration = Exploration(folder, make(folder / "recording"), lambda _: None)
    exploration.judge(Plan(boots=0))
    return folder


def resume(folder: Path, *words: str) -> int:
    return main(["explore", "--resume", str(folder), "--boots", "0", *words])


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b"null", b"\xff", b"{}", b'{"version": 2}'])
@pytest.mark.parametrize("name", [PLAN, BOOTS, "decided.json", "least.json", "report.json", "options.json"])
def test_damage_is_said_in_a_sentence(
    explored: Path, name: str, content: bytes, capsys: pytest.CaptureFixture[str]
) -> None:
    (explored / name).write_bytes(content + b"\n" * (name == BOOTS))
    code, said = resume(explored), capsys.readouterr().err
    assert "unexpected" not in said
    assert code in (ExitCode.USAGE, ExitCode.HELD)
    assert code == ExitCode.HELD or name in said


def test_what_was_asked_for_is_kept(explored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert resume(explored, "--least", "3") == ExitCode.HELD
    assert json.loads((explored / "options.json").read_text())["least"] == 3
    capsys.readouterr()
    assert main(["explore", "--resume", str(explored), "--json"]) == ExitCode.HELD, "without any boot, as before"
    report = json.loads(capsys.readouterr().out)
    assert report["states_booted"] == report["classes_booted"] == 0 < report["classes"]
    assert not (explored / "recording").exists(), "it is packed"


def test_going_on_with_less_does_not_make_it_all_that_was_asked_for(explored: Path) -> None:
    (explored / "options.json").write_text('{"boots": 60, "again": 2, "least": 8, "all_writes": false}\n')
    assert resume(explored, "--again", "0", "--least", "9") == ExitCode.HELD
    kept = json.loads((explored / "options.json").read_text())
    assert kept == {"boots": 60, "again": 2, "least": 9, "all_writes": False}


def test_options_that_are_none_are_said_to_be_damaged(explored: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (explored / "options.json").write_text('{"least": "many"}\n')
    assert main(["explore", "--resume", str(explored)]) == ExitCode.USAGE
    assert "options.json is damaged" in capsys.readouterr().err


@pytest.mark.parametrize(
    "harm",
    [
        lambda folder: (folder / "update.svg").unlink(),
        lambda folder: (folder / "report.json").unlink(missing_ok=True),
        lambda folder: (folder / PLAN).unlink(),
    ],
)
def test_what_can_be_found_out_anew_is(explored: Path, harm: Callable[[Path], None]) -> None:
    assert resume(explored) == ExitCode.HELD
    harm(explored)
    assert resume(explored) == ExitCode.HELD
    assert (explored / "report.html").exists()
