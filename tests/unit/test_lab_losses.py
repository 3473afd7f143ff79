# SPDX-License-Identifier: Apache-2.0
"""Losses that are documented of another client are shown only if the very rule is violated; and how well we write."""

import json

import pytest

from harness.errors import ClaimViolated, Inconclusive
from harness.lab import Lab
from tests.unit.write_logs import FLUSH, flag, write
from tests.unit.written_lab import (
    COMMITTED,
    ENV,
    FAILED,
    SLOT_B,
    SUCCEEDED,
    UP,
    begin,
    factory,
    image_in_b,
    lab,
    sectors,
)

__all__ = ["factory", "lab"]  # fixtures


def kept(lab: Lab, told: tuple[str, ...]) -> None:
    """Version b is kept, and the server has been told that."""
    begin(lab, *image_in_b(), *sectors(ENV[0], COMMITTED), said=UP["b"], told=told)


def test_a_loss_is_shown(lab: Lab) -> None:
    kept(lab, FAILED)
    with lab.loses("server", "reported as failed"):
        lab.claim("new")
    assert [row.outcome for row in lab.rows] == ["lost, as documented: reported as failed"]
    assert json.loads((lab.folder / "claims.json").read_text())[-1]["holds"]
    assert json.loads((lab.folder / "verdicts.json").read_text())[-1]["outcome"] == "violated", "as it was judged"


def test_a_loss_that_does_not_come_is_inconclusive(lab: Lab) -> None:
    kept(lab, SUCCEEDED)
    with (
        pytest.raises(Inconclusive, match="The loss was not seen: reported as failed"),
        lab.loses("server", "reported as failed"),
    ):
        lab.claim("new")


def test_another_loss_is_a_violation(lab: Lab) -> None:
    kept(lab, FAILED)
    with pytest.raises(ClaimViolated), lab.loses("fallback", "something else"):
        lab.claim("new")
    assert lab.rows[-1].outcome == "violated"


def test_a_board_hangs_only_if_it_asks_for_nothing(lab: Lab) -> None:
    lab.server.kept["journal"] = [{"seq": 1, "path": "/", "range": None}]  # type: ignore[attr-defined]
    lab.claim_hangs(0.1)
    numbers = iter(range(2, 1000))
    journal = lab.server.kept["journal"]  # type: ignore[attr-defined]

    def asks(after: int = 0) -> list[dict[str, object]]:
        journal.append({"seq": next(numbers), "path": "/", "range": None})
        return [entry for entry in journal if entry["seq"] > after]

    lab.server.journal = asks  # type: ignore[method-assign, assignment]
    with pytest.raises(ClaimViolated, match="has asked for nothing"):
        lab.claim_hangs(5)


def test_what_was_fetched_is_told_from_what_was_not(lab: Lab) -> None:
    journal = lab.server.kept["journal"]  # type: ignore[attr-defined]
    journal.append({"seq": 1, "path": "/artifacts/1/download", "range": None})
    kept(lab, SUCCEEDED)
    lab.deploy("b")
    lab.claim_not_fetched()
    with pytest.raises(ClaimViolated, match="the artifact was fetched"):
        lab.claim_fetched()
    journal.append({"seq": 2, "path": "/artifacts/1/download", "range": "bytes=7-"})
    lab.claim_fetched()
    with pytest.raises(ClaimViolated, match="was not fetched"):
        lab.claim_not_fetched()


PIECE = bytes(128 * 1024)


@pytest.mark.parametrize(
    ("entries", "wrong"),
    [
        ([write(SLOT_B, PIECE), *[flag(FLUSH)] * 4, write(SLOT_B + 256, PIECE)], ""),
        ([write(SLOT_B, PIECE), *[flag(FLUSH)] * 5, write(SLOT_B + 256, PIECE)], "5 flushes were made"),
        ([write(SLOT_B, PIECE[:4096]), write(SLOT_B + 8, PIECE[:4096])], "of 4096 bytes on average, 0 of them"),
        ([write(SLOT_B + 1, PIECE), write(SLOT_B + 257, PIECE)], "2 of them not aligned"),
        ([], "of 0 bytes on average"),
    ],
)
def test_a_slot_is_written_well_or_not(lab: Lab, entries: list[bytes], wrong: str) -> None:
    begin(lab, *entries)
    if not wrong:
        lab.claim_written_well("rootfs-b")
        return
    with pytest.raises(ClaimViolated, match=wrong):
        lab.claim_written_well("rootfs-b")
