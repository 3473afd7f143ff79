# SPDX-License-Identifier: Apache-2.0
"""What a record notes as durable must be in the slot, whatever of the rest is lost."""

import pytest

from harness.explore.progress import Progress
from harness.explore.recording import Recording
from harness.judge.updatestore import UpdateStore
from harness.storage import CrashPoint
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import PIECE, make

WHOLE = (True, True)


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make(tmp_path_factory.mktemp("small") / "recording")


def holds(
    recording: Recording, written: int, durable: int, lost: frozenset[int] = frozenset(), target: str = "b"
) -> bool:
    """After the mark and so many pieces of the slot."""
    progress, position = Progress(recording), 1 + written
    progress.go_to(position)
    return progress.judge(CrashPoint(position, lost), UpdateStore(WHOLE, target=target, durable=durable)).holds


def test_what_is_noted_is_there(recording: Recording) -> None:
    assert holds(recording, 3, 3 * PIECE)
    assert holds(recording, 3, 2 * PIECE), "more may be there"


def test_what_is_noted_before_it_is_written_is_missed(recording: Recording) -> None:
    assert not holds(recording, 2, 3 * PIECE)


def test_what_is_noted_before_it_is_flushed_is_missed_once_it_is_lost(recording: Recording) -> None:
    second = recording.operations[2].index
    assert recording.operations[2].address == LAYOUT.partition("rootfs-b").start + PIECE
    assert not holds(recording, 3, 3 * PIECE, lost=frozenset({second}))
    assert holds(recording, 3, PIECE, lost=frozenset({second})), "it lies behind what is noted"


def test_where_nothing_is_noted_nothing_is_missed(recording: Recording) -> None:
    assert holds(recording, 0, 0)
    assert holds(recording, 0, PIECE, target=""), "an application has no slot"


def test_a_region_that_is_asked_for_late_has_come_as_far_as_the_log(recording: Recording) -> None:
    progress, store = Progress(recording), UpdateStore(WHOLE, target="b", durable=3 * PIECE)
    seen = []
    for operation in recording.operations[:5]:
        progress.go_to(operation.index + 1)
        seen.append(progress.judge(CrashPoint(operation.index + 1), store).holds)
    assert seen == [False, False, False, True, True]


def test_no_slot_is_longer_than_it_is(recording: Recording) -> None:
    everything = LAYOUT.partition("rootfs-b").size
    assert holds(recording, len(recording.operations) - 1, 2 * everything)
