# SPDX-License-Identifier: Apache-2.0
"""The moment of a fault, in a log."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from harness.faults.gate import Gate
from harness.faults.power import Moment, Watch, area, mark, now, writes
from harness.storage import WriteLog, encode
from images.layout import Layout, Window
from tests.unit import write_logs
from tests.unit.write_logs import DISCARD, FLUSH, SECTOR, flag, write, write_log

TINY = Layout(
    card=Window("card", 0, 8 * SECTOR),
    disk=Window("disk", 8 * SECTOR, 16 * SECTOR),
    marks=Window("marks", 24 * SECTOR, 8 * SECTOR),
    partitions=(Window("rootfs-a", SECTOR, 4 * SECTOR), Window("rootfs-b", 5 * SECTOR, 4 * SECTOR)),
    env_offsets=(0,),
    env_size=SECTOR,
)
A, B = 9, 13  # first sectors of the partitions in the image


def step(name: str, number: int = 0) -> bytes:
    return write_logs.step(24, name, number)


@pytest.fixture
def reached(tmp_path: Path) -> Iterator[Callable[..., list[int]]]:
    """The indices of the operations at which a moment is reached."""
    logs: list[WriteLog] = []

    def reached(moment: Moment, *entries: bytes) -> list[int]:
        path = tmp_path / "write.log"
        write_log(path, *entries)
        log = WriteLog(path)
        logs.append(log)
        watch = Watch(moment, log, TINY)
        return [operation.index for operation in log.finish() if watch(operation)]

    yield reached
    for log in logs:
        log.close()


def test_a_mark_is_found_by_its_name(reached: Callable[..., list[int]]) -> None:
    entries = [write(A), write(A, encode(0, "flip")), step("begin"), flag(FLUSH), step("flip", 1), write(A)]
    assert reached(mark("flip"), *entries) == [4], "and only on the strip"
    assert reached(mark("begin"), *entries) == [2]
    assert reached(mark("other"), *entries) == []
    assert reached(mark("fli"), *entries) == []


def test_marks_are_awaited_in_their_order(reached: Callable[..., list[int]]) -> None:
    entries = [step("ready"), step("reboot", 1), write(A), step("ready", 2), step("ready", 3)]
    assert reached(mark("ready"), *entries) == [0]
    assert reached(mark("reboot", "ready"), *entries) == [3]
    assert reached(mark("ready", "reboot"), *entries) == [1]
    assert reached(mark("ready", "reboot", "reboot"), *entries) == []


def test_writes_are_counted_from_the_beginning_or_from_a_mark(reached: Callable[..., list[int]]) -> None:
    entries = [
        write(A),
        write(B),
        write(0),
        step("begin"),
        write(B + 3),
        flag(FLUSH),
        flag(DISCARD, B, 1),
        write(B),
        write(A),
    ]
    assert reached(writes(1, to="rootfs-b"), *entries) == [1]
    assert reached(writes(2, to="rootfs-b"), *entries) == [4]
    assert reached(writes(3, to="rootfs-b"), *entries) == [7], "neither flushes nor discards are writes"
    assert reached(writes(1, to="rootfs-b", after="begin"), *entries) == [4]
    assert reached(writes(2, to="rootfs-b", after="begin"), *entries) == [7]
    assert reached(writes(3, to="rootfs-b", after="begin"), *entries) == []
    assert reached(writes(1, to="card"), *entries) == [2]
    assert reached(writes(5, to="disk"), *entries) == [8]
    assert reached(writes(1, to="marks", after="begin"), *entries) == [], "the mark itself does not count"


def test_passive_is_the_slot_that_does_not_run() -> None:
    assert writes(5, to="passive").within("rootfs-b") == writes(5, to="rootfs-b")
    assert writes(5, to="card").within("rootfs-b") == writes(5, to="card")
    assert mark("flip").within("rootfs-b") == mark("flip")


def test_moments_are_said_in_words() -> None:
    assert str(mark("flip")) == "at the step 'flip'"
    assert str(mark("reboot", "ready")) == "at the step 'ready' after the step 'reboot'"
    assert str(now()) == "now"
    assert str(writes(3, to="card")) == "after write 3 to card"
    assert str(writes(3, to="passive", after="begin")) == "after write 3 to passive after the step 'begin'"


def test_areas_have_names() -> None:
    assert area(TINY, "card") == TINY.card
    assert area(TINY, "rootfs-b") == Window("rootfs-b", B * SECTOR, 4 * SECTOR)
    with pytest.raises(KeyError):
        area(TINY, "nowhere")


def test_a_gate_sees_a_moment_that_came_since_it_was_made_and_no_earlier_one(tmp_path: Path) -> None:
    path = tmp_path / "write.log"
    write_log(path, step("flip"), write(A), step("begin", 1), step("flip", 2), write(A))
    with WriteLog(path) as log:
        gate = Gate(Watch(mark("flip"), log, TINY), log, start=1)
        assert gate()
        assert gate.position == 4
        assert gate(), "and goes on saying so"
        assert Gate(Watch(mark("begin"), log, TINY), log).position is None, "it looks only when it is asked"
        late = Gate(Watch(mark("flip"), log, TINY), log, start=4)
        assert not late()
