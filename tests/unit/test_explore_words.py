# SPDX-License-Identifier: Apache-2.0
"""The least that is still violated, and crash points in plain words."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from harness.explore.minimal import ddmin, minimal
from harness.explore.plan import violates
from harness.explore.space import Space
from harness.explore.static import StaticJudge
from harness.explore.words import Words
from harness.storage import CrashPoint
from images.layout import SECTOR
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import PIECE, environment, image, kept, make
from tests.unit.write_logs import FLUSH, flag, write


@given(whole=st.sets(st.integers(0, 40), min_size=1).map(sorted), data=st.data())
def test_what_is_left_is_needed(whole: list[int], data: st.DataObject) -> None:
    needed = data.draw(st.sets(st.sampled_from(whole)), "needed")
    asked = []

    def breaks(part: Sequence[int]) -> bool:
        asked.append(part)
        return needed <= set(part)

    assert set(ddmin(whole, breaks)) == needed
    assert len(asked) <= len(whole) ** 2 + 3 * len(whole) + 1, "the algorithm's bound"


@given(whole=st.sets(st.integers(0, 40), min_size=2).map(sorted), data=st.data())
def test_one_of_several_is_enough(whole: list[int], data: st.DataObject) -> None:
    enough = data.draw(st.sets(st.sampled_from(whole), min_size=1), "enough")
    found = ddmin(whole, lambda part: bool(enough & set(part)))
    assert len(found) == 1
    assert found[0] in enough


def test_the_least_of_an_update_that_is_not_flushed(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording", flushes=False)
    judged = [one for one in StaticJudge(recording).judge_all(Space(recording)) if one.suspicious]
    worst = max(judged, key=lambda one: len(one.point.lost))
    assert len(worst.point.lost) > 10
    least = minimal(StaticJudge(recording), worst.point, worst.heard)
    assert len(least.lost) == 1
    said = Words(recording).of(least)
    assert said[0].startswith(f"The power failed after {least.position} operations: after 'install.flip")
    assert "Lost: slot B from byte " in said[1]
    assert said[1].endswith("65,536 bytes, written after 'slot.write' and before 'report.installing'.")


def flipped_behind_the_record(_: Path) -> Iterator[bytes]:
    """The record still says that the slot is being written, wherever the power fails."""
    slot, new = LAYOUT.partition("rootfs-b").start // SECTOR, image(b"b")
    for at in range(0, len(new), PIECE):
        yield write(slot + at // SECTOR, new[at : at + PIECE])
    copy, flipped = (LAYOUT.card.start + LAYOUT.env_offsets[1]) // SECTOR, environment(2, True, 2)
    yield from (write(copy + at // SECTOR, flipped[at : at + SECTOR]) for at in range(0, len(flipped), SECTOR))
    yield flag(FLUSH)


def test_the_least_violates_what_no_start_can_mend(tmp_path: Path) -> None:
    recording = kept(tmp_path / "recording", flipped_behind_the_record)
    both = next(
        one
        for one in StaticJudge(recording).judge_all(Space(recording))
        if len(one.point.lost) == 1 and {one.rule for one in one.verdict.violations} == {"slot", "order"}
    )
    judge = StaticJudge(recording)
    least = minimal(judge, both.point, both.heard)
    assert violates(judge.judge(least, both.heard)) == violates(both) == ("slot",)


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (CrashPoint(0), ["The power failed after 0 operations: before any step and before 'slot.write'."]),
        (
            CrashPoint(40, torn=17),
            [
                "The power failed after 40 operations: after 'install.flip' and before 'install.flipped'.",
                "Torn after 17 bytes: the second environment copy from byte 512, 512 bytes, "
                "written after 'install.flip' and before 'install.flipped'.",
            ],
        ),
        (
            CrashPoint(40, tail="ones"),
            [
                "The power failed after 40 operations: after 'install.flip' and before 'install.flipped'.",
                "Spoiled with ones: 1024 bytes of the second environment copy from byte 0.",
            ],
        ),
        (
            CrashPoint(35, frozenset({34})),
            [
                "The power failed after 35 operations: after 'slot.write' and before 'report.installing'.",
                "Lost: /mender/bootproof-store on the data partition, 4,096 bytes, "
                "written after 'slot.write' and before 'report.installing'.",
            ],
        ),
        (
            CrashPoint(3, torn=512, tore=2),
            [
                "The power failed after 3 operations: after 'slot.write' and before 'report.installing'.",
                "Torn after 512 bytes: slot B from byte 65,536, 65,536 bytes, "
                "written after 'slot.write' and before 'report.installing'.",
            ],
        ),
    ],
)
def test_points_in_words(tmp_path: Path, point: CrashPoint, says: list[str]) -> None:
    assert Words(make(tmp_path / "recording")).of(point) == says


def test_an_update_that_names_no_steps_is_told_by_its_operations(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    recording.marks = []
    recording.about = replace(recording.about, began=5)
    assert Words(recording).of(CrashPoint(7)) == [
        "The power failed after 7 operations: 2 operations after the update began."
    ]
    assert Words(recording).of(CrashPoint(3)) == ["The power failed after 3 operations: before the update began."]
