# SPDX-License-Identifier: Apache-2.0
"""The pauses between tries."""

from itertools import islice

import pytest

from updater.machine.backoff import delays


def test_the_worked_sequence_of_menders_defaults() -> None:
    assert list(delays(300)) == [60, 60, 60, 120, 120, 120, 240, 240, 240, 300, 300, 300]


@pytest.mark.parametrize(
    ("cap", "wanted"),
    [
        (1, [1] * 3),
        (59, [59] * 3),
        (60, [60] * 3),
        (61, [60] * 3 + [61] * 3),
        (120, [60] * 3 + [120] * 3),
        (1800, [60] * 3 + [120] * 3 + [240] * 3 + [480] * 3 + [960] * 3 + [1800] * 3),
    ],
)
def test_doubled_up_to_the_cap_and_no_minute_where_less_is_configured(cap: float, wanted: list[float]) -> None:
    assert list(delays(cap)) == wanted


def test_a_count_is_the_number_of_tries_in_all() -> None:
    assert list(delays(300, 1)) == []
    assert list(delays(300, 2)) == [60]
    assert list(delays(300, 5)) == [60, 60, 60, 120]
    assert list(delays(300, 15)) == [*delays(300), 300, 300], "it goes on at the cap"
    assert list(delays(5, 8)) == [5] * 7
    assert list(islice(delays(60, 10**9), 1000)) == [60] * 1000
