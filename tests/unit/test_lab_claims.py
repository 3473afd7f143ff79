# SPDX-License-Identifier: Apache-2.0
"""The laboratory's own rules, on a board whose log, console and server are written by hand.

What it must never do: call a run held whose fault did not fire, or that was not what the scenario is about.
"""

import json
from pathlib import Path

import pytest

from harness.errors import ClaimViolated, GuestFault, HarnessBug, HostProblem, Inconclusive
from harness.faults.power import console, mark, writes
from harness.lab import Lab
from tests.unit.write_logs import FLUSH, flag, step, write, write_log
from tests.unit.written_lab import (
    BACK,
    COMMITTED,
    ENV,
    FAILED,
    FLIP,
    IMAGES,
    SLOT_B,
    STRIP,
    SUCCEEDED,
    UP,
    begin,
    environment,
    factory,
    image_in_b,
    lab,
    sectors,
)

__all__ = ["factory", "lab"]  # fixtures


# -- the cut -----------------------------------------------------------------------------------------------------------


def test_a_moment_that_does_not_come_is_inconclusive(lab: Lab) -> None:
    begin(lab, *image_in_b())
    with pytest.raises(Inconclusive, match=r"never came to the moment at the step 'install\.flip'"):
        lab.cut_power(mark("install.flip"))
    assert not lab.board.on


def test_a_pattern_that_is_not_shown_is_inconclusive(lab: Lab) -> None:
    begin(lab, *image_in_b())
    with pytest.raises(Inconclusive, match="never came to the moment when the console shows 'login:'"):
        lab.cut_power(console("login:"))


def test_a_cut_loses_something_where_something_can_be_lost(lab: Lab) -> None:
    begin(lab, step(STRIP, "slot.write"), write(SLOT_B, IMAGES["b"]), flag(FLUSH), write(SLOT_B, IMAGES["a"]))
    point = lab.cut_power(writes(2, to="passive"))
    assert point.lost == {3}, "whatever the seed"
    kept = json.loads((lab.folder / "cuts.json").read_text())[0]
    assert (kept["unflushed"], kept["lost"], kept["point"]) == (1, 1, "4,lost=3")


def test_a_board_that_reported_after_a_moment_on_the_console_is_inconclusive(lab: Lab) -> None:
    begin(lab, *image_in_b(), said=UP["a"] + b"Starting kernel ...")
    read = lab.board.log.poll

    def reports() -> object:  # the board runs on while it is being stopped
        found = read()
        write_log(lab.board.log.path, *image_in_b(), step(STRIP, "report.installing", 2))
        return found

    lab.board.log.poll = reports  # type: ignore[method-assign, assignment]
    with pytest.raises(Inconclusive, match=r"went on to 'report\.installing'"):
        lab.cut_power(console("Starting kernel"))


def test_what_is_bad_whatever_was_told_later_is_a_violation(lab: Lab) -> None:
    entries = [flag(FLUSH), write(SLOT_B, IMAGES["b"]), *sectors(ENV[0], FLIP)]
    begin(lab, *entries, said=UP["a"] + b"Starting kernel ...")
    read = lab.board.log.poll

    def reports() -> object:
        found = read()
        write_log(lab.board.log.path, *entries, step(STRIP, "report.rebooting", 1))
        return found

    lab.board.log.poll = reports  # type: ignore[method-assign, assignment]
    with pytest.raises(ClaimViolated, match="Slot B, which U-Boot boots, is neither a nor b"):
        lab.cut_power(console("Starting kernel"), lose="unflushed", says="Cut after the flip")
    (row,) = lab.rows
    assert (row.did, row.booted, row.outcome) == ("Cut after the flip", "not tried", "violated")


def test_a_pattern_cuts_where_the_log_is_when_it_is_seen(lab: Lab) -> None:
    begin(lab, *image_in_b(), *sectors(ENV[0], FLIP), said=UP["a"] + b"Starting kernel ...", told=FAILED[:3])
    assert lab.cut_power(console("Starting kernel")).position == len(lab.board.log.operations)
    assert lab.environment().upgrade_available


def test_other_steps_after_the_moment_are_cut_off(lab: Lab) -> None:
    begin(lab, *image_in_b(), step(STRIP, "slot.verified", 2), *sectors(ENV[0], FLIP), told=("downloading",))
    lab.cut_power(mark("slot.flushed"))
    assert not lab.environment().upgrade_available


def test_a_tear_within_text_leaves_the_copy_invalid(lab: Lab) -> None:
    begin(lab, *image_in_b(), step(STRIP, "install.flip", 2), *sectors(ENV[0], FLIP))
    lab.cut_inside_env_write(after="install.flip", says="Cut inside the flip")
    assert [copy.valid for copy in lab.environment().copies] == [False, True]


def test_a_tear_that_changes_nothing_is_inconclusive(lab: Lab) -> None:
    begin(lab, *image_in_b(), step(STRIP, "install.flip", 2), *sectors(ENV[0], environment(1)))
    with pytest.raises(Inconclusive, match="the copy that was being written is valid"):
        lab.cut_power(writes(8, to="card", after="install.flip"), tear=True)


def test_a_tear_without_a_write_to_tear_is_inconclusive(lab: Lab) -> None:
    begin(lab, *image_in_b())
    with pytest.raises(Inconclusive, match="cannot be torn"):
        lab.cut_power(mark("slot.flushed"), tear=True)


def test_media_that_must_not_be_are_a_violation_at_once(lab: Lab) -> None:
    """The flip stands, and the slot was never flushed."""
    begin(lab, write(SLOT_B, IMAGES["b"]), step(STRIP, "install.flip"), *sectors(ENV[0], FLIP))
    with pytest.raises(ClaimViolated, match="Slot B, which U-Boot boots, is neither a nor b"):
        lab.cut_after_env_write(after="install.flip", says="Cut after the flip")


def test_without_any_flush_nothing_is_known(lab: Lab) -> None:
    begin(lab, step(STRIP, "slot.write"), write(SLOT_B, IMAGES["b"]))
    with pytest.raises(Inconclusive, match="no flush"):
        lab.cut_power(writes(1, to="passive"))


# -- claims ------------------------------------------------------------------------------------------------------------


def test_a_good_update_is_held(lab: Lab) -> None:
    begin(lab, *image_in_b(), *sectors(ENV[0], COMMITTED), said=UP["a"] + UP["b"], told=SUCCEEDED)
    assert len(lab.claim("new").findings) == 13
    row = lab.rows[0]
    assert (row.did, row.booted, row.told, row.outcome) == ("no cut", "slot B, version b", "success", "held")
    with pytest.raises(HarnessBug, match="ran before it was deployed"):
        lab.claim("new")


@pytest.mark.parametrize(
    ("entries", "said", "told", "says"),
    [
        ([*image_in_b(), *sectors(ENV[0], COMMITTED)], b"Kernel panic - not syncing" + UP["b"], SUCCEEDED, "panic"),
        ([*image_in_b(), *sectors(ENV[0], COMMITTED)], UP["b"], FAILED, "was told 'failure'"),
        ([*image_in_b(), *sectors(ENV[0], COMMITTED)], UP["b"], SUCCEEDED[:4], "went on changing"),
        ([*image_in_b(), *sectors(ENV[0], FLIP)], UP["b"], SUCCEEDED, "still on trial"),
        ([*image_in_b(), *sectors(ENV[0], COMMITTED)], UP["a"], SUCCEEDED, "but slot A was seen to run"),
        ([*image_in_b("a"), *sectors(ENV[0], COMMITTED)], UP["b"], SUCCEEDED, "where b was expected"),
    ],
)
def test_every_other_update_is_not(
    lab: Lab, entries: list[bytes], said: bytes, told: tuple[str, ...], says: str
) -> None:
    begin(lab, *entries, said=said, told=told)
    with pytest.raises(ClaimViolated, match=says):
        lab.claim("new")


def test_a_device_that_goes_under_another_name_is_found(lab: Lab) -> None:
    begin(lab, *image_in_b(), *sectors(ENV[0], COMMITTED), said=UP["b"], told=SUCCEEDED)
    lab.server.says = "release-a"  # type: ignore[attr-defined]
    with pytest.raises(ClaimViolated, match="says that it runs release-a, and release-b runs"):
        lab.claim("new")


def test_an_alarm_may_be_expected_once(lab: Lab) -> None:
    begin(lab, *image_in_b(), *sectors(ENV[0], BACK), said=b"Kernel panic - not syncing\n" + UP["a"], told=FAILED)
    lab.expect_alarms("kernel-panic")
    lab.claim_undone("Kernel panic", did="panics")
    lab.board.script = (list(image_in_b()), b"Kernel panic - not syncing\n" + UP["a"])  # type: ignore[attr-defined]
    lab.board.kill()
    lab.power_on()
    with pytest.raises(ClaimViolated, match="kernel-panic"):
        lab.claim_quiet()


def test_what_was_never_tried_was_not_undone(lab: Lab) -> None:
    begin(lab, *image_in_b(), told=("downloading", "failure"))
    with pytest.raises(Inconclusive, match="never tried"):
        lab.claim_undone(did="refused")


def test_a_fault_that_the_console_does_not_show_was_not_met(lab: Lab) -> None:
    begin(lab, *image_in_b(), *sectors(ENV[0], BACK), told=FAILED)
    with pytest.raises(Inconclusive, match="may not have been met"):
        lab.claim_undone("Bootlimit .* exceeded", did="hangs")


def test_a_refusal_for_another_reason_is_inconclusive(lab: Lab) -> None:
    begin(lab, flag(FLUSH), told=("downloading", "failure"))
    lab.server.kept["log"] = "the artifact is damaged"  # type: ignore[attr-defined]
    with pytest.raises(Inconclusive, match="not refused because of 'signature'"):
        lab.claim_refused("signature", did="stranger")


def test_the_board_must_have_asked_for_work_since_the_end(lab: Lab) -> None:
    begin(lab, *image_in_b(), *sectors(ENV[0], COMMITTED), said=UP["b"], told=SUCCEEDED)
    lab.server.polls_after = -1.0  # type: ignore[attr-defined]
    assert not lab.settle()


def test_a_machine_that_ended_by_itself_is_no_finding(lab: Lab) -> None:
    begin(lab, *image_in_b())
    lab.board.kill()
    with pytest.raises(HostProblem, match="QEMU has ended by itself: no more"):
        lab.settle()


def test_a_board_that_switches_itself_off_is_a_finding(lab: Lab) -> None:
    begin(lab, *image_in_b())
    lab.board.kill()
    lab.board._process.ended_well = True  # type: ignore[union-attr, misc]
    for act in (lab.settle, lambda: lab.cut_power(mark("install.flip"))):
        with pytest.raises(GuestFault, match="switched itself off"):
            act()


# -- what the log shows ------------------------------------------------------------------------------------------------


def test_an_area_is_untouched_or_written_once_or_neither(lab: Lab) -> None:
    begin(lab, write(SLOT_B), write(SLOT_B + 1))
    lab.claim_untouched("rootfs-a")
    lab.claim_written_once("rootfs-b")
    with pytest.raises(ClaimViolated):
        lab.claim_untouched("rootfs-b")
    with pytest.raises(ClaimViolated):
        lab.claim_written_once("rootfs-a")
    lab.board.kill()
    begin(lab, write(SLOT_B), write(SLOT_B))
    with pytest.raises(ClaimViolated, match="512 of them distinct"):
        lab.claim_written_once("rootfs-b")


@pytest.mark.parametrize(
    ("ranges", "held"), [(["", "bytes=9-"], True), ([""], False), (["", ""], False), (["bytes=0-", "bytes=9-"], False)]
)
def test_a_download_was_resumed_by_range(lab: Lab, ranges: list[str], held: bool) -> None:
    begin(lab)
    earlier = {"seq": 1, "path": "/artifacts/download/1", "range": ""}
    lab.server.kept["journal"] = [earlier]  # type: ignore[attr-defined]
    lab.deploy("b")
    asked = [{"seq": 3 + at, "path": "/artifacts/download/1", "range": one} for at, one in enumerate(ranges)]
    lab.server.kept["journal"] = [earlier, {"seq": 2, "path": "/next", "range": ""}, *asked]  # type: ignore[attr-defined]
    if held:
        lab.claim_resumed_by_range()
        return
    with pytest.raises(ClaimViolated):
        lab.claim_resumed_by_range()


def test_one_artifact_has_one_signer(lab: Lab) -> None:
    begin(lab)
    lab.deploy("b")
    assert lab.server.uploads == [Path("b-release.mender")]  # type: ignore[attr-defined]
    with pytest.raises(HarnessBug, match="signed by release already"):
        lab.deploy("b", signer="stranger")
