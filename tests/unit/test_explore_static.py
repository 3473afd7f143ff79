# SPDX-License-Identifier: Apache-2.0
"""The static judge against the disks themselves, and on updates that are wrong in a known way."""

import json
import random
from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.explore.chosen import choose, in_words
from harness.explore.crashid import CrashId
from harness.explore.exploration import Exploration
from harness.explore.forecast import forecast
from harness.explore.plan import Plan
from harness.explore.recording import Recording
from harness.explore.space import Space
from harness.explore.static import Judged, StaticJudge
from harness.judge import SLOTS, Outcome, Verdict, identify, next_boot, partitions, read_environment
from harness.judge.verdict import Finding
from harness.storage import CrashPoint, DiskView, crash_extents
from tests.unit.small_recording import make


def judged(recording: Recording) -> list[Judged]:
    return list(StaticJudge(recording).judge_all(Space(recording)))


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make(tmp_path_factory.mktemp("small") / "recording")


@pytest.fixture(scope="module")
def states(recording: Recording) -> list[Judged]:
    return judged(recording)


def test_each_state_is_what_its_disk_holds(recording: Recording, states: list[Judged]) -> None:
    about = recording.about
    for one in random.Random(1).sample(states, 60):
        disk = DiskView(recording.media.base, crash_extents(recording.log, one.point, about.layout))
        boot = next_boot(read_environment(disk, about.layout, about.defaults), about.defaults)
        assert one.state.boot == boot
        assert one.state.slots == tuple(identify(disk, about.layout, slot, about.images) for slot in SLOTS)
        assert one.state.table == (not partitions.complaints(disk, about.layout))


def test_a_right_update_is_right_at_every_point(states: list[Judged]) -> None:
    assert len(states) > 500
    assert [str(one.point) for one in states if one.suspicious] == []
    assert {one.state.boots for one in states} == {"a", "b"}
    assert {one.state.slots[1] for one in states} == {None, "b"}
    assert {one.state.store.state for one in states if one.state.store} == {"update-store", "update-install"}


def test_points_come_in_order_and_each_once(states: list[Judged]) -> None:
    assert [one.point.position for one in states] == sorted(one.point.position for one in states)
    assert len({(one.point, one.heard) for one in states}) == len(states)


def test_while_a_report_is_on_its_way_both_may_be(states: list[Judged]) -> None:
    both = {one.point.position for one in states if one.heard.position > one.point.position}
    assert both == {37}
    assert {one.state.told for one in states if one.point.position == 37} == {"downloading", "installing"}


@pytest.mark.parametrize(
    ("fault", "broken"), [({"flushes": False}, {"slot", "order"}), ({"trial": False}, {"commit", "order"})]
)
def test_a_wrong_update_is_found(tmp_path: Path, fault: dict[str, bool], broken: set[str]) -> None:
    found = judged(make(tmp_path / "recording", **fault))
    rules = {finding.rule for one in found for finding in one.verdict.violations}
    assert rules == broken
    assert 0 < sum(one.suspicious for one in found) < len(found)


def test_the_same_content_is_judged_once(recording: Recording) -> None:
    judge = StaticJudge(recording)
    count = sum(1 for _ in judge.judge_all(Space(recording)))
    assert judge.contents < count


def test_what_is_expected_of_a_state(recording: Recording, states: list[Judged]) -> None:
    told = {(one.state.store.state, forecast(one.state, recording.about).starts) for one in states if one.state.store}
    assert told == {("update-store", "a"), ("update-install", "a"), ("update-install", "b")}
    assert {forecast(one.state, recording.about).ends for one in states} == {"old", "new"}


def test_every_point_has_an_id_of_its_own(recording: Recording, states: list[Judged]) -> None:
    ids = [CrashId.of(recording, one.point, one.heard) for one in states]
    assert len({str(one) for one in ids}) == len(ids)
    for one, state in zip(ids, states, strict=True):
        assert CrashId.parse(str(one)) == one
        assert one.within(recording) == (state.point, state.heard)


def test_a_plan_has_one_of_each_class_and_a_sample(states: list[Judged]) -> None:
    plan = Plan(boots=40, seed=3)
    for one in states:
        plan.add(one)
    assert {one.state for one in plan.representatives()} == {one.state for one in states}
    assert sum(one.points for one in plan.classes.values()) == plan.judged == len(states)
    sample = plan.sample()
    assert len(sample) == 40 - len(plan.classes)
    assert not set(sample) & set(plan.representatives())
    again = Plan(boots=40, seed=3)
    for one in states:
        again.add(one)
    assert again.sample() == sample


def test_what_does_not_hold_makes_a_class_of_its_own(states: list[Judged], recording: Recording) -> None:
    """It would be one of thousands that are right; and some rules ask for more than what the device holds."""
    state = max((one.state for one in states), key=lambda state: sum(other.state == state for other in states))
    alike = [one for one in states if one.state == state]
    violated, behind = (Verdict(Outcome.VIOLATED, (Finding(rule, False, ""),)) for rule in ("commit", "order"))
    wrong, doubtful = replace(alike[5], verdict=violated), replace(alike[7], verdict=behind)
    for seed in range(10):
        plan = Plan(boots=0, seed=seed)
        for one in (*alike[:5], wrong, alike[6], doubtful, *alike[8:]):
            plan.add(one)
        first, second, third = plan.representatives()
        assert {first, second} == {wrong, doubtful}
        assert third not in (wrong, doubtful)
        chosen = choose(plan, recording)
        assert [one.violates for one in chosen if one.violates] == [("commit",)], "without any boot it is reported"


def test_suspicious_points_are_taken_from_everywhere(states: list[Judged]) -> None:
    plan = Plan(boots=10)
    for one in states[:500]:
        plan.add(replace(one, verdict=Verdict(Outcome.VIOLATED, (Finding("order", False, ""),))))
    taken = plan.some_suspicious()
    assert len(taken) == 10
    assert [one.point.position for one in taken] == sorted(one.point.position for one in taken)
    assert taken[-1].point.position > states[100].point.position


def test_what_is_only_downloaded_is_booted_last(states: list[Judged]) -> None:
    plan = Plan(boots=0)
    for one in states:
        plan.add(one)
    stored = [one.state.store.state for one in plan.representatives() if one.state.store]
    assert stored[0] == "update-install"
    assert stored == sorted(stored)
    assert stored[-1] == "update-store"


def test_an_exploration_keeps_its_plan(tmp_path: Path) -> None:
    said: list[str] = []
    recording = make(tmp_path / "recording", trial=False)
    exploration = Exploration(tmp_path, recording, said.append)
    chosen = exploration.judge(Plan(boots=5))
    assert exploration.planned() == chosen
    assert {rule for one in chosen for rule in one.violates} == {"commit"}
    report = exploration.report()
    assert report["states_booted"] == report["inconclusive"] == 0
    assert report["violations"] == sorted(one.crash_id for one in chosen if one.violates)
    assert report["states_total"] > report["states_judged"] > 500
    assert "points are suspicious" in said[-1]


def test_a_plan_of_another_version_is_refused(tmp_path: Path) -> None:
    exploration = Exploration(tmp_path, make(tmp_path / "recording"), lambda _: None)
    exploration.judge(Plan(boots=5))
    plan = tmp_path / "plan.json"
    plan.write_text(json.dumps({**json.loads(plan.read_text()), "version": 1}))
    with pytest.raises(UsageError, match=r"plan.json is not of version 2: .* judged anew"):
        exploration.planned()


def test_more_boots_are_others_beside_the_same_representatives(states: list[Judged]) -> None:
    plans = [Plan(boots=boots, seed=4) for boots in (0, 200)]
    for plan in plans:
        for one in states:
            plan.add(one)
    assert plans[0].representatives() == plans[1].representatives()


def test_a_plan_of_another_recording_is_refused(tmp_path: Path) -> None:
    exploration = Exploration(tmp_path, make(tmp_path / "recording"), lambda _: None)
    exploration.judge(Plan(boots=5))
    assert exploration.is_planned(5)
    assert not exploration.is_planned(6), "more are to be chosen"
    other = Exploration(tmp_path, make(tmp_path / "other", trial=False), lambda _: None)
    with pytest.raises(UsageError, match=r"plan.json is of recording \w+, not of \w+\. Move it"):
        other.planned()


def test_a_state_in_words(states: list[Judged]) -> None:
    words = {in_words(one.state) for one in states}
    assert "starts slot B on trial (A a, B b), goes on with update-install, the server heard installing" in words


def test_what_a_person_was_told_is_kept_must_be(tmp_path: Path) -> None:
    """By hand; the system there is on trial for ever."""
    recording = make(tmp_path / "recording")
    told = recording.about.ended
    about = replace(recording.about, by_hand=True, permitted=0, kept=told)
    judge = StaticJudge(Recording.save(recording.folder, about))
    rules = []
    for position in (told - 1, told):
        judge.go_to(position)
        rules.append({one.rule for one in judge.judge(CrashPoint(position), about.heard[-1]).verdict.violations})
    assert rules[1] - rules[0] == {"kept"}
