# SPDX-License-Identifier: Apache-2.0
"""The picture of an update: it can be read by any program, and shows every write where it went."""

import re
from pathlib import Path
from xml.etree import ElementTree

from harness.explore.exploration import Exploration
from harness.explore.picture import COLOURS, draw, lanes
from harness.explore.plan import Plan
from harness.storage import Kind
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import make

SVG = "{http://www.w3.org/2000/svg}"


def test_every_area_has_a_lane_of_its_own() -> None:
    made = lanes(LAYOUT)
    assert [lane.name for lane in made] == [
        "data", "slot b", "slot a", "partition table", "environment 2", "environment 1",
    ]  # fmt: skip
    assert len({lane.top for lane in made}) == len(made)


def test_all_writes_flushes_and_steps_are_there(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    outcomes = dict.fromkeys(range(20), "new") | dict.fromkeys(range(20, 40), "old")
    picture = ElementTree.fromstring(draw(recording, outcomes, "B & <C>"))
    boxes = {
        path.get("fill"): (path.get("d") or "").count("z") for path in picture.iter(f"{SVG}path") if path.get("fill")
    }
    on_media = [one for one in recording.operations if one.kind is Kind.WRITE and one.address not in LAYOUT.marks]
    assert sum(boxes.values()) == len(on_media)
    assert set(boxes) == {COLOURS[name][0] for name in ("old", "new", "unknown")}
    flushes = [path for path in picture.iter(f"{SVG}path") if path.get("class") == "flush"]
    assert len(flushes) == sum(one.kind is Kind.FLUSH for one in recording.operations)
    texts = [text.text for text in picture.iter(f"{SVG}text")]
    assert {"B & <C>", "install.flip", "slot.write", COLOURS["old"][1], COLOURS["unknown"][1]} <= set(texts)
    assert COLOURS["violated"][1] not in texts


def test_nothing_lies_outside_of_its_lane(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    for operation in recording.operations:
        for lane in lanes(LAYOUT):
            if lane.start <= operation.address < lane.end and operation.length:
                top, height = lane.box(operation)
                assert lane.top - 1 <= top
                assert top + height <= lane.top + 63


def test_an_exploration_draws_what_is_violated(tmp_path: Path) -> None:
    exploration = Exploration(tmp_path, make(tmp_path / "recording", trial=False), lambda _: None)
    exploration.judge(Plan(boots=1))
    drawn = (tmp_path / "update.svg").read_text()
    assert re.search(rf'<path fill="{COLOURS["violated"][0]}"', drawn)
    (violation,) = exploration.violations()
    assert violation["rules"] == ["commit"]
    assert violation["words"][0].startswith("The power failed after")
