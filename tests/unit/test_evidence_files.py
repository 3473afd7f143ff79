# SPDX-License-Identifier: Apache-2.0
"""What a run leaves behind: events, the table, the folder, and the words for a person."""

import io
import json
import re
from pathlib import Path
from xml.etree import ElementTree

import pytest
from rich.console import Console

from harness.errors import HostProblem
from harness.evidence import Events, Row, RunFolder, table
from harness.evidence.events import Event
from harness.evidence.picture import picture
from harness.narrator import Narrator, sentence

ROW = Row("cut 1", "a release-a", {"a": ("release-a", "0123456789abcdef"), "b": ("", "")}, "failure", "held")


def lines(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_every_event_is_a_line_at_once_and_the_first_names_the_format(tmp_path: Path) -> None:
    path = tmp_path / "events.jsonl"
    events = Events(path)
    assert lines(path) == [{"format": "bootproof-events", "version": 1}]
    events.emit("power-on", number=1, path=Path("x"))
    events.emit("cut", says="line\nbreak", torn=None)
    found = lines(path)[1:]
    assert [one.pop("at", None) is not None for one in found] == [True, True]
    assert found == [
        {"kind": "power-on", "number": 1, "path": "x"},
        {"kind": "cut", "says": "line\nbreak", "torn": None},
    ]
    events.close()


def test_listeners_hear_everything_in_order(tmp_path: Path) -> None:
    heard: list[list[str]] = [[], []]
    listeners = (lambda event: heard[0].append(event.kind), lambda event: heard[1].append(event.kind))
    events = Events(tmp_path / "events.jsonl", listeners)
    for kind in ("one", "two", "three"):
        events.emit(kind)
    assert heard == [["one", "two", "three"]] * 2
    events.close()


def test_a_step_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    events = Events(tmp_path / "events.jsonl")
    with events.step("Building", version="b"):
        events.emit("inside")
    with pytest.raises(ValueError, match="oh"), events.step("Failing"):
        raise ValueError("oh")
    with pytest.raises(KeyboardInterrupt), events.step("Interrupted"):
        raise KeyboardInterrupt
    found = [(one["kind"], one.get("says"), one.get("failed")) for one in lines(tmp_path / "events.jsonl")[1:]]
    assert found == [
        ("begin", "Building", None), ("inside", None, None), ("end", "Building", None),
        ("begin", "Failing", None), ("end", "Failing", "ValueError: oh"),
        ("begin", "Interrupted", None), ("end", "Interrupted", "KeyboardInterrupt: "),
    ]  # fmt: skip
    events.close()


def test_the_table_has_all_columns() -> None:
    text = io.StringIO()
    wide = Console(file=text, width=200)
    wide.print(table([ROW, Row("cut 2", "b", {"a": ("", ""), "b": ("release-b", "f" * 64)}, "success", "violated")]))
    head, *others = text.getvalue().splitlines()
    assert head.split("  ") != []
    for column in ("cut", "booted", "slot A", "slot B", "server was told", "verdict"):
        assert column in head
    body = "\n".join(others)
    for word in (
        "cut 1",
        "release-a 01234567",
        "failure",
        "held",
        "cut 2",
        "release-b ffffffff",
        "success",
        "violated",
    ):
        assert word in body
    assert "012345678" not in body


def test_the_table_shows_what_looks_like_markup_as_it_is() -> None:
    text = io.StringIO()
    Console(file=text, width=200).print(table([Row("[cut] after [bold]", "a", ROW.slots, "failure", "held")]))
    assert "[cut] after [bold]" in text.getvalue()


def test_the_picture_shows_every_cell_and_fetches_nothing() -> None:
    drawn = picture([Row("[cut] <after> & [bold]", "b", ROW.slots, "failure", "violated")], "prove, seed <7>")
    root = ElementTree.fromstring(drawn)
    text = " ".join("".join(root.itertext()).replace("\N{NO-BREAK SPACE}", " ").split())
    for words in ("prove, seed <7>", "server was told", "[cut] <after> & [bold]", "release-a 01234567", "violated"):
        assert words in text
    assert re.findall(r"https?:[^\s\"']*", drawn) == ["http://www.w3.org/2000/svg"]


def test_a_narrow_terminal_loses_nothing() -> None:
    text = io.StringIO()
    Console(file=text, width=40).print(table([ROW]))
    assert "".join(text.getvalue().split()).count("…") == 0


def test_a_run_has_a_folder_of_its_own(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path / "runs", "prove", 7)
    assert folder.path.parent == tmp_path / "runs"
    assert folder.path.name.endswith("-prove-7")
    folder.write("about.json", {"path": Path("x"), "seed": 7})
    assert json.loads((folder / "about.json").read_text()) == {"path": "x", "seed": 7}
    for number in (1, 2):
        folder.append("cuts.json", {"cut": number})
        assert json.loads((folder / "cuts.json").read_text())[-1] == {"cut": number}
    assert len(json.loads((folder / "cuts.json").read_text())) == 2


def test_a_place_for_runs_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HostProblem, match=r"No run folder can be made in .*file: Not a directory\. Name another"):
        RunFolder(tmp_path / "file", "prove", 7)


def test_dropping_the_bulk_keeps_what_is_small(tmp_path: Path) -> None:
    folder = RunFolder(tmp_path, "prove", 7)
    small = ["about.json", "events.jsonl", "console-1.log", "qemu.log", "environment-1.json", "verdicts.json"]
    bulky = ["disk-1.qcow2", "disk-12.qcow2", "write-1.log", "data-2.img"]
    (folder / "server" / "artifacts").mkdir(parents=True)
    small, bulky = [*small, "server/server.sqlite"], [*bulky, "server/artifacts/1.mender"]
    for name in small + bulky:
        (folder / name).write_text("x")
    folder.drop_bulk()
    left = (path.relative_to(folder.path) for path in folder.path.rglob("*") if path.is_file())
    assert sorted(map(str, left)) == sorted(small)
    folder.drop_bulk()


def test_what_is_attached_is_readable_and_not_large(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    attached: list[str] = []
    monkeypatch.setattr("allure.attach.file", lambda path, **more: attached.append(f"{path} {more['name']}"))
    folder = RunFolder(tmp_path, "prove", 7)
    for name in ("about.json", "console-1.log", "write-1.log", "disk-1.qcow2"):
        (folder / name).write_text("x")
    (folder / "empty.log").touch()
    (folder / "events.jsonl").write_text("x" * 300_000)
    folder.attach()
    folder.picture([ROW], "prove")
    assert attached == [f"{folder / name} {name}" for name in ("about.json", "console-1.log", "table.svg")]


@pytest.mark.parametrize(
    ("kind", "fields", "wanted"),
    [
        ("power-on", {"number": 3}, "Power on (number 3)"),
        ("cut", {"unflushed": 5, "lost": 2, "torn": None}, "  5 writes were not flushed, 2 of them are lost"),
        ("cut", {"unflushed": 5, "lost": 2, "torn": 512},
         "  5 writes were not flushed, 2 of them are lost, one torn after 512 bytes"),
        ("verdict", {"when": "after", "says": "all rules hold"}, "  Verdict after: all rules hold"),
        ("begin", {"says": "Building"}, "Building"),
        ("end", {"says": "Building"}, ""),
        ("end", {"says": "Building", "failed": "ValueError: oh"}, "ValueError: oh"),
        ("other", {}, "other"),
    ],
)  # fmt: skip
def test_events_in_words(kind: str, fields: dict[str, object], wanted: str) -> None:
    assert sentence(Event(kind, 0.0, dict(fields))) == wanted


def test_the_narrator_speaks_only_aloud_and_says_things_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    said = io.StringIO()
    monkeypatch.setattr("sys.__stderr__", said)
    Narrator(aloud=False).say("nothing")
    assert said.getvalue() == ""
    Narrator().hear(Event("begin", 0.0, {"says": "slot [a] " + "x" * 200}))
    assert said.getvalue().endswith("slot [a] " + "x" * 200 + "\n")
    Narrator().hear(Event("end", 0.0, {"says": "quiet"}))
    assert said.getvalue().count("\n") == 1
