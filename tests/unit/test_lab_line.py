# SPDX-License-Identifier: Apache-2.0
"""Stopping a board at a moment, breaking its line, taking its deployment back, and a person who works on it."""

from datetime import UTC, datetime
from typing import Any

import pytest

from harness.errors import ClaimViolated, HarnessBug, Inconclusive
from harness.faults.power import mark, now, writes
from harness.lab import Lab, rig
from harness.lab.operator import Operator
from harness.lab.scripts import FETCHED, ROUND, StateScripts
from tests.unit.write_logs import step, write
from tests.unit.written_lab import (
    COMMITTED,
    ENV,
    SLOT_B,
    STRIP,
    SUCCEEDED,
    UP,
    Line,
    begin,
    factory,
    image_in_b,
    lab,
    sectors,
)

__all__ = ["factory", "lab"]  # fixtures


@pytest.fixture
def line(lab: Lab) -> Line:
    """The line of the laboratory."""
    return lab.relay  # type: ignore[return-value]


def start(lab: Lab, line: Line, *entries: bytes, **others: Any) -> None:
    begin(lab, *entries, **others)
    lab.board._monitor = line  # type: ignore[assignment]


# -- at a moment -------------------------------------------------------------------------------------------------------


def test_the_board_is_held_and_stopped_for_as_long_as_the_block_lasts(lab: Lab, line: Line) -> None:
    start(lab, line, step(STRIP, "slot.write"), write(SLOT_B))
    with lab.at(mark("slot.write")):
        assert line.did == ["hold", "stop"]
        assert line.reached(), "so the server hears nothing more"
        lab.break_line()
    assert line.did == ["hold", "stop", "down", "cont", "release"]


def test_moments_follow_each_other(lab: Lab, line: Line) -> None:
    start(lab, line, step(STRIP, "reboot"), write(SLOT_B), step(STRIP, "idle", 1), write(SLOT_B), step(STRIP, "reboot"))
    for moment in (mark("reboot"), writes(1, to="passive"), mark("idle", "reboot")):
        with lab.at(moment):
            pass
    with pytest.raises(Inconclusive, match="never came to the moment at the step 'reboot'"), lab.at(mark("reboot")):
        pass
    assert line.did[-1] == "release", "also if the moment did not come"


def test_now_is_where_the_log_ends(lab: Lab, line: Line) -> None:
    start(lab, line, *image_in_b(), write(SLOT_B))
    assert lab.cut_power(now(), lose="nothing").position == len(lab.board.log.operations)
    assert not lab.board.on


def test_what_is_sent_after_the_moment_of_a_cut_is_lost_with_the_board(lab: Lab, line: Line) -> None:
    start(lab, line, *image_in_b(), step(STRIP, "report.installing", 2))
    point = lab.cut_power(mark("slot.flushed"))
    assert line.reached(), "so the server hears nothing more"
    assert line.did == ["hold", "hang up", "release"]
    assert lab.board.log.operations[point.position :], "although the board went on"


def test_what_is_held_for_a_cut_that_does_not_come_is_passed_on(lab: Lab, line: Line) -> None:
    start(lab, line, *image_in_b())
    with pytest.raises(Inconclusive):
        lab.cut_power(mark("install.flip"))
    assert line.did == ["hold", "release"]


# -- the line ----------------------------------------------------------------------------------------------------------


def test_the_line_is_mended_once_the_board_has_tried_it(lab: Lab, line: Line) -> None:
    start(lab, line)
    with pytest.raises(Inconclusive, match="never broken"):
        lab.heal_network(tries=1)
    lab.break_line(silently=True)
    with pytest.raises(Inconclusive, match="tried the broken line 0 times, not 1"):
        lab.heal_network(tries=1)
    line.turned_away = 1
    lab.heal_network(tries=1)
    assert line.did == ["silent", "heal"]


def test_a_board_must_try_a_broken_line_anew(lab: Lab, line: Line) -> None:
    start(lab, line)
    with pytest.raises(Inconclusive, match="never broken"):
        lab.claim_tries_again(within=0.1)
    lab.break_line()
    with pytest.raises(ClaimViolated, match="tries the broken line anew"):
        lab.claim_tries_again(within=0.1)
    line.turned_away = 1
    lab.claim_tries_again(within=0.1)


# -- deployments and commands ------------------------------------------------------------------------------------------


def test_a_deployment_is_taken_back_in_time_or_too_late(lab: Lab, line: Line) -> None:
    start(lab, line)
    lab.abort()
    with pytest.raises(Inconclusive, match="had not ended"):
        lab.abort(too_late=True)
    lab.server.kept["ended"] = True  # type: ignore[attr-defined]
    lab.abort(too_late=True)
    with pytest.raises(Inconclusive, match="had ended"):
        lab.abort()


def test_what_the_record_says_and_what_runs_can_be_claimed(lab: Lab, line: Line) -> None:
    start(lab, line, *image_in_b(), *sectors(ENV[0], COMMITTED), said=UP["a"] + UP["b"], told=SUCCEEDED)
    lab.claim_told("success")
    with pytest.raises(ClaimViolated, match="record says aborted"):
        lab.claim_told("aborted")
    lab.claim_runs("b")
    with pytest.raises(ClaimViolated, match="version a runs"):
        lab.claim_runs("a")


def test_an_inconsistent_version_keeps_its_name_until_another_one_runs(lab: Lab, line: Line) -> None:
    start(lab, line, *image_in_b(), *sectors(ENV[0], COMMITTED), said=UP["a"] + UP["b"])
    told = (*SUCCEEDED[:-1], "failure")
    lab.server.history, lab.server.says = told, "release-b_INCONSISTENT"  # type: ignore[attr-defined]
    lab.claim("inconsistent")
    assert lab.known_images["b"].artifact_name == "release-b_INCONSISTENT"


def test_without_a_deployment_a_board_settles_when_it_asks_for_work(lab: Lab, line: Line) -> None:
    start(lab, line, *image_in_b(), *sectors(ENV[0], COMMITTED), said=UP["a"] + UP["b"])
    lab.deployment = ""
    lab.claim("new")
    assert lab.rows[-1].told == "nothing"
    lab.server.polls_after = -3600.0  # type: ignore[attr-defined]
    assert not lab.settle()


def test_a_server_that_has_answered_nothing_since_is_not_asked_again_at_once(
    lab: Lab, line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    start(lab, line, *image_in_b(), *sectors(ENV[0], COMMITTED), said=UP["a"] + UP["b"])
    lab.deployment = ""
    asked: list[str] = []
    last_poll = lab.server.last_poll
    monkeypatch.setattr(lab.server, "last_poll", lambda device: asked.append(device) or last_poll(device))
    monkeypatch.setattr(Line, "answers", 7)
    monkeypatch.setattr(rig, "LATE_SECONDS", 3600.0)
    since = datetime.now(UTC)
    assert [lab.has_settled(since) for _ in range(3)] == [True, False, False]
    monkeypatch.setattr(Line, "answers", 8)
    assert [lab.has_settled(since) for _ in range(2)] == [True, False]
    monkeypatch.setattr(rig, "LATE_SECONDS", 0.0)
    assert lab.has_settled(since), "it is asked all the same after a while"
    assert len(asked) == 3


def prints(lab: Lab, *texts: str) -> list[str]:
    """The board's shell prints these, command by command; returns the commands."""
    commands: list[str] = []

    def run(command: str) -> str:
        commands.append(command)
        return texts[len(commands) - 1] if len(commands) <= len(texts) else ""

    lab.run = run  # type: ignore[method-assign]
    return commands


@pytest.mark.parametrize(
    ("printed", "held"),
    [
        ("Committed.\n\nended with 0\n", True),
        ("Committed.\n\nended with 1\n", False),
        ("Committed.\n\nended with 0\nmore\n", False),
        ("Commit failed.\n\nended with 0\n", False),
        ("ended with 0", False),
    ],
)
def test_a_command_ends_as_it_should_or_not(lab: Lab, line: Line, printed: str, held: bool) -> None:
    start(lab, line)
    commands = prints(lab, printed)
    if held:
        Operator(lab).runs("commit", says="Committed.")
        assert commands == ["mender-update commit 2>&1; code=$?; echo; echo ended with $code"]
        return
    with pytest.raises(ClaimViolated, match=r"'mender-update commit' ends with 0 and says 'Committed\.' \(it ends"):
        Operator(lab).runs("commit", says="Committed.")


def test_what_was_not_begun_cannot_end(lab: Lab, line: Line) -> None:
    start(lab, line)
    with pytest.raises(HarnessBug, match="No command was begun"):
        Operator(lab).sees_it_end()


@pytest.mark.parametrize(
    ("ran", "held"),
    [
        (f"{ROUND * 2}{FETCHED} Download_Error {ROUND}", True),
        (f"Sync_Leave {FETCHED} Download_Error Idle_Enter Idle_Leave", True),
        (f"Idle_Leave Sync_Enter Sync_Leave {ROUND}{FETCHED} Download_Error Idle_Enter", True),
        (f"{ROUND}{FETCHED} {ROUND}", False),
        (f"{ROUND}{FETCHED} Download_Error Download_Error {ROUND}", False),
        (f"{ROUND}{FETCHED} Download_Error {ROUND}Download_Enter", False),
        (f"{ROUND}Idle_Enter {FETCHED} Download_Error", False),
        (f"{ROUND}Download_Error {FETCHED} ", False),
        ("", False),
    ],
)
def test_scripts_ran_in_their_order_or_not(lab: Lab, line: Line, ran: str, held: bool) -> None:
    start(lab, line)
    names = ran.replace("(", "").replace(")", "").split()
    prints(lab, "\n".join(name if "_05_" in name else f"{name}_00" for name in names))
    if held:
        StateScripts(lab).claim(FETCHED, "Download_Error")
        return
    with pytest.raises(ClaimViolated, match="the scripts ran as they should"):
        StateScripts(lab).claim(FETCHED, "Download_Error")


def test_a_stick_is_plugged_in_while_the_board_is_off(lab: Lab, line: Line) -> None:
    start(lab, line)
    with pytest.raises(HarnessBug, match="while the board is off"):
        lab.plug_in()
    with pytest.raises(HarnessBug, match="No stick"):
        lab.pull_stick()
