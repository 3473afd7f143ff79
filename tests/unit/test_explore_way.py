# SPDX-License-Identifier: Apache-2.0
"""A flip to what is no system is seen, also if nothing came of it."""

from pathlib import Path

import pytest

from harness.explore.recording import Recording
from harness.explore.way import turns, wrong_flip
from tests.unit.small_recording import make


@pytest.fixture(scope="module")
def recording(tmp_path_factory: pytest.TempPathFactory) -> Recording:
    return make(tmp_path_factory.mktemp("small") / "recording")


def said(recording: Recording, *known: str) -> str | None:
    about = recording.about
    images = [image for image in about.images if image.name in known]
    return wrong_flip(recording.log, recording.media.view, about.layout, about.defaults, images)


def test_a_right_flip_is_right(recording: Recording) -> None:
    assert said(recording, "a", "b") is None


def test_a_flip_to_what_is_not_known_is_wrong(recording: Recording) -> None:
    assert said(recording, "a") == "On the way, slot B was to be booted on trial while it held no known system."


def test_what_is_made_final_is_looked_at_too(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording", trial=False)
    assert said(recording, "a", "b") is None
    assert said(recording, "a") == "On the way, slot B was to be booted while it held no known system."


def test_what_is_to_be_booted_changes_where_the_flip_is_complete(recording: Recording) -> None:
    about = recording.about
    found = list(turns(recording.log, recording.media.view, about.layout, about.defaults))
    assert [(turn.slot, turn.trial) for turn in found] == [("a", False), ("b", True)]
    card = about.layout.card
    written = [one.index + 1 for one in recording.operations if one.length and one.address in card]
    assert found[0].position == 0
    assert found[1].position in written


def test_what_would_be_booted_before_the_flip_counts(recording: Recording) -> None:
    assert said(recording, "b") == "On the way, slot A was to be booted while it held no known system."
