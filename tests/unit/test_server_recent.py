# SPDX-License-Identifier: Apache-2.0
"""What a server's process remembers of the devices that asked it lately."""

from datetime import UTC, datetime, timedelta

from server_stub.recent import MOST_NOTED, Recent
from server_stub.storage.revisions import Topic

BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


def recent() -> Recent:
    return Recent(dict.fromkeys(Topic, 0))


def test_check_ins_are_handed_out_once_and_in_portions() -> None:
    kept = recent()
    for number in range(2 * MOST_NOTED + 1):
        kept.check_in(str(number), BEGAN)
    portions = kept.take_check_ins()
    assert [len(one) for one in portions] == [MOST_NOTED, MOST_NOTED, 1]
    assert len({device for one in portions for device in one}) == 2 * MOST_NOTED + 1
    assert kept.take_check_ins() == []


def test_a_check_in_that_could_not_be_written_does_not_replace_a_later_one() -> None:
    kept = recent()
    kept.check_in("a", BEGAN)
    kept.check_in("b", BEGAN)
    (taken,) = kept.take_check_ins()
    later = BEGAN + timedelta(seconds=1)
    kept.check_in("a", later)
    kept.put_back(taken)
    assert kept.take_check_ins() == [{"a": later, "b": BEGAN}]


def test_that_no_deployment_is_open_counts_for_one_revision() -> None:
    kept = recent()
    assert kept.may_have_open(0)
    kept.note_none_open(0)
    assert not kept.may_have_open(0)
    assert kept.may_have_open(1)
