# SPDX-License-Identifier: Apache-2.0
"""An application that is replaced by the update that is explored: which one there is, and what should become of it."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.explore.forecast import forecast
from harness.explore.recording import About, Recording
from harness.explore.replaced import Replaced
from harness.explore.space import Space
from harness.explore.static import DeviceState, StaticJudge
from harness.judge.updatestore import UpdateStore
from images.nodes import Node
from tests.unit.small_recording import make

FILE = Replaced("single-file", "one", "two")
PLACE = "apps/single-file/program"
WHOLE = (True, True)


@pytest.fixture
def recording(tmp_path: Path) -> Recording:
    return make(tmp_path / "recording")


def described(recording: Recording, **changed: object) -> Recording:
    """The same recording of another story."""
    return Recording.save(recording.folder, replace(recording.about, **changed))  # type: ignore[arg-type]


def test_it_is_the_old_one_or_the_new_one_or_torn() -> None:
    old, new = FILE.old.nodes(), FILE.new.nodes()
    assert FILE.holds(old) == "old"
    assert FILE.holds(new) == "new"
    assert FILE.holds({}) == "torn", "the old one was there before"
    assert FILE.holds({**old, PLACE: Node.file(new[PLACE].content[:-1] + b"!", 0o750)}) == "torn"
    assert FILE.holds({**new, f"{PLACE}-more": Node.file(b"")}) == "torn"
    assert FILE.holds({**new, "apps/single-file/.program.bootproof-new": Node.file(b"")}) == "new", "a module at work"


def test_where_the_way_back_is_promised_a_torn_application_is_a_violation(recording: Recording) -> None:
    for kind, rules in (("single-file", {"application"}), ("script", set())):
        one = described(recording, replaced=Replaced(kind, "one", "two"))
        found = list(StaticJudge(one).judge_all(Space(one)))
        assert {judged.state.application for judged in found} == {"torn"}, "this board has no applications"
        assert {finding.rule for judged in found for finding in judged.verdict.violations} == rules
        assert one.about.replaced == Replaced(kind, "one", "two")


@pytest.mark.parametrize(
    ("store", "told", "ends"),
    [
        (UpdateStore(WHOLE), "pending", "new"),
        (UpdateStore(WHOLE), "failure", "old"),
        (UpdateStore(WHOLE, "update-fetch"), None, "new"),
        (UpdateStore(WHOLE, "update-store"), "downloading", "old"),
        (UpdateStore(WHOLE, "update-commit"), "installing", "old"),
        (UpdateStore(WHOLE, "update-after-commit"), "installing", "new"),
        (UpdateStore(WHOLE, "cleanup"), "installing", "new"),
        (UpdateStore(WHOLE, "cleanup", "rolled-back"), "installing", "old"),
        (None, None, "old"),
    ],
)
def test_what_should_become_of_an_application(
    recording: Recording, store: UpdateStore | None, told: str | None, ends: str
) -> None:
    state = replace(a_state(recording), store=store, told=told)
    assert forecast(state, replace(recording.about, replaced=FILE, new="a")).ends == ends
    assert forecast(state, replace(recording.about, replaced=FILE, new="a", ends="old")).ends == "old"


@pytest.mark.parametrize(
    ("store", "told", "ends"),
    [
        (UpdateStore(WHOLE), "pending", "new"),
        (UpdateStore(WHOLE), "failure", "old"),
        (UpdateStore(WHOLE, "update-fetch"), None, "new"),
        (UpdateStore(WHOLE, "update-store", known=True), "downloading", "new"),
        (UpdateStore(WHOLE, "update-store"), "downloading", "old"),
        (UpdateStore(WHOLE, "update-install", known=True), "installing", "old"),
    ],
)
def test_what_should_become_of_a_system_that_was_not_flipped_to(
    recording: Recording, store: UpdateStore, told: str | None, ends: str
) -> None:
    """A download is gone on with once it is known of what; the server asks again for what it has not heard of."""
    assert forecast(replace(a_state(recording), store=store, told=told), recording.about).ends == ends


@pytest.mark.parametrize(
    ("step", "outcome", "ends"),
    [
        ("update-store", "", "old"),
        ("update-install", "", "inconsistent"),
        ("update-commit", "", "inconsistent"),
        ("cleanup", "", "new"),
        ("cleanup", "rolled-back", "old"),
        ("cleanup", "failed", "inconsistent"),
    ],
)
def test_without_a_way_back_the_device_admits_that_it_does_not_know(
    recording: Recording, step: str, outcome: str, ends: str
) -> None:
    """What failed while it was fetched has not changed anything."""
    state = replace(a_state(recording), store=UpdateStore(WHOLE, step, outcome), told="installing")
    about = replace(recording.about, replaced=Replaced("deb", "one", "two"), new="a")
    assert forecast(state, about).ends == ends


def a_state(recording: Recording) -> DeviceState:
    return next(StaticJudge(recording).judge_all(Space(recording))).state


def test_nobody_goes_on_with_an_update_by_hand(recording: Recording) -> None:
    state = replace(a_state(recording), store=None)
    by_hand: About = replace(recording.about, by_hand=True)
    assert forecast(state, recording.about).ends == "new"
    assert forecast(state, by_hand).ends == "old"


@pytest.mark.parametrize(("step", "ends"), [("ArtifactInstall_Enter", "old"), ("ArtifactCommit_Enter", "new")])
def test_by_hand_an_installation_that_nobody_saw_end_is_taken_back(recording: Recording, step: str, ends: str) -> None:
    store = UpdateStore(WHOLE, step, known=True)
    state = next(one.state for one in StaticJudge(recording).judge_all(Space(recording)) if one.state.boots == "b")
    assert forecast(replace(state, store=store), replace(recording.about, by_hand=True)).ends == ends


def test_by_hand_the_new_system_may_be_final_once_a_person_says_so(tmp_path: Path) -> None:
    untried = make(tmp_path / "untried", trial=False)
    for permitted, expected in ((None, {"commit"}), (0, set()), (untried.about.ended, {"commit"})):
        one = described(untried, by_hand=True, deployment="", permitted=permitted)
        found = list(StaticJudge(one).judge_all(Space(one)))
        rules = {finding.rule for judged in found for finding in judged.verdict.violations}
        assert rules & {"commit"} == expected
