# SPDX-License-Identifier: Apache-2.0
"""A record that is behind what the bootloader knows is worth a boot; one that keeps up is not."""

import pytest

from harness.explore.order import in_order
from harness.judge.bootmodel import NextBoot
from harness.judge.updatestore import UpdateStore

OLD, TRIAL, FINAL = (
    (NextBoot("a", False, ""), "a"),
    (NextBoot("b", True, "", second="a"), "b"),
    (NextBoot("b", False, ""), "b"),
)


def holds(board: tuple[NextBoot, str], state: str | None, artifact: str = "release-a") -> bool:
    store = UpdateStore((True, True), state=state, artifact=artifact)
    return in_order(*board, "a", "b", store, "release-b").holds


@pytest.mark.parametrize("state", ["update-install", "reboot", "after-reboot", "update-commit", "rollback"])
def test_a_trial_was_stored_before_it_began(state: str) -> None:
    assert holds(TRIAL, state)


@pytest.mark.parametrize("state", ["update-fetch", "update-store", "update-after-store"])
def test_a_record_of_a_download_is_behind_a_trial(state: str) -> None:
    assert not holds(TRIAL, state)
    assert holds(OLD, state)


@pytest.mark.parametrize("state", ["update-store", "update-install", "reboot", "after-reboot"])
def test_a_record_of_a_trial_is_behind_a_commit(state: str) -> None:
    assert not holds(FINAL, state)
    assert holds(OLD, state)


@pytest.mark.parametrize(
    "state", ["update-commit", "update-after-commit", "cleanup", "update-status-report", "rollback"]
)
def test_a_commit_was_stored_before_it_was_made(state: str) -> None:
    assert holds(FINAL, state)


def test_once_nothing_is_under_way_the_name_is_the_new_one() -> None:
    assert holds(FINAL, None, "release-b")
    assert not holds(FINAL, None, "release-a")
    assert holds(OLD, None, "release-a")


def test_of_what_is_not_known_nothing_is_said() -> None:
    assert holds(TRIAL, "ArtifactInstall_Enter")
    assert in_order(*FINAL, "a", "b", UpdateStore((True, True), artifact="release-a"), "").holds
