# SPDX-License-Identifier: Apache-2.0
"""The rules of the roll-out on values: when phases open, how many devices may begin, when too many have failed."""

import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from server_stub.domain.rollout import FailureLimit, Phase, Plan, check_phases
from server_stub.errors import Malformed

BEGIN = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)


def plan(*phases: Phase, size: int = 10, released: tuple[datetime, ...] = ()) -> Plan:
    return Plan(check_phases(phases), BEGIN, size, released)


def test_without_phases_everybody_may_begin_at_once():
    assert plan().quota(BEGIN) == math.inf
    assert plan().next_opening(BEGIN) is None


def test_a_phase_opens_after_the_delay_of_the_one_before():
    made = plan(Phase(percent=10, delay=HOUR), Phase(percent=50, delay=2 * HOUR), Phase())
    assert [made.quota(BEGIN + hours * HOUR) for hours in (0, 0.99, 1, 2.99, 3)] == [1, 1, 6, 6, math.inf]
    assert made.next_opening(BEGIN) == BEGIN + HOUR
    assert made.next_opening(BEGIN + HOUR) == BEGIN + 3 * HOUR
    assert made.next_opening(BEGIN + 3 * HOUR) is None
    assert [made.current(BEGIN + hours * HOUR) for hours in (-1, 0, 1, 3)] == [None, 0, 1, 2]


def test_what_the_phases_leave_over_comes_after_them():
    made = plan(Phase(percent=10, delay=HOUR))
    assert [made.quota(BEGIN + hours * HOUR) for hours in (0, 0.9, 1)] == [1, 1, math.inf]
    assert len(plan(Phase(percent=40), Phase(percent=60)).phases) == 2


def test_a_start_counts_more_than_a_delay():
    made = plan(Phase(count=2, start=BEGIN + HOUR, delay=HOUR), Phase(start=BEGIN + 9 * HOUR))
    assert [made.quota(BEGIN + hours * HOUR) for hours in (0, 1, 2, 8.9, 9)] == [0, 2, 2, 2, math.inf]


def test_a_phase_that_waits_opens_when_the_operator_lets_it_and_not_before_its_time():
    phases = (Phase(count=1, delay=HOUR), Phase(count=2, delay=HOUR, waits=True), Phase())
    assert plan(*phases).openings() == [BEGIN, None, None]
    assert plan(*phases).quota(BEGIN + 99 * HOUR) == 1
    assert plan(*phases).waiting
    early = plan(*phases, released=(BEGIN + HOUR / 2,))
    assert early.openings() == [BEGIN, BEGIN + HOUR, BEGIN + 2 * HOUR]
    late = plan(*phases, released=(BEGIN + 5 * HOUR,))
    assert late.openings() == [BEGIN, BEGIN + 5 * HOUR, BEGIN + 6 * HOUR]
    assert not late.waiting


def test_percentages_are_rounded_up_together():
    made = plan(Phase(percent=1), Phase(percent=33, waits=True), Phase(waits=True), size=3)
    assert made.quota(BEGIN) == 1
    assert plan(Phase(percent=33.3), Phase(waits=True), size=1000).quota(BEGIN) == 333
    assert plan(Phase(percent=10), Phase(waits=True), size=0).quota(BEGIN) == 0


@pytest.mark.parametrize(
    "phases",
    [
        [Phase(), Phase()],
        [Phase(percent=60), Phase(percent=60)],
        [Phase(percent=1, count=1), Phase()],
        [Phase(count=1, start=BEGIN + HOUR), Phase(start=BEGIN)],
        [Phase(count=1, delay=timedelta(days=30_000)), Phase(count=1, delay=timedelta(days=30_000)), Phase()],
    ],
)
def test_phases_that_cannot_be_meant(phases: list[Phase]):
    with pytest.raises(Malformed):
        check_phases(phases)


@given(
    phases=st.lists(
        st.builds(
            Phase,
            percent=st.none(),
            count=st.integers(1, 50),
            delay=st.timedeltas(timedelta(0), 9 * HOUR),
            waits=st.booleans(),
        ),
        min_size=1,
        max_size=6,
    ),
    released=st.lists(st.timedeltas(timedelta(0), 99 * HOUR), max_size=6).map(sorted),
    times=st.lists(st.timedeltas(timedelta(0), 300 * HOUR), min_size=2, max_size=9).map(sorted),
)
def test_what_may_begin_only_grows_and_only_at_openings(
    phases: list[Phase], released: list[timedelta], times: list[timedelta]
):
    made = plan(*phases, released=tuple(BEGIN + one for one in released))
    quotas = [made.quota(BEGIN + time) for time in times]
    assert quotas == sorted(quotas)
    for before, after in pairwise(times):
        opening = made.next_opening(BEGIN + before)
        if opening is None or opening > BEGIN + after:
            assert made.quota(BEGIN + before) == made.quota(BEGIN + after)


def test_failure_limits():
    assert not FailureLimit(count=3).is_reached(2, 0)
    assert FailureLimit(count=3).is_reached(3, 1000)
    third = FailureLimit(percent=33, minimum=3)
    assert not third.is_reached(2, 0)
    assert not third.is_reached(1, 3)
    assert third.is_reached(1, 2)
    assert not FailureLimit(percent=1).is_reached(0, 5)
