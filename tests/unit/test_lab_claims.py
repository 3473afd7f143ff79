# SPDX-License-Identifier: Apache-2.0
"""The laboratory's own rules, on a board whose log, console and server are written by hand.

What it must never do: call a run held whose fault did not fire, or that was not what the scenario is about.
"""

import hashlib
import json
import random
from collections.abc import Iterator
from contextlib import ExitStack, closing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import paramiko
import pytest

from harness.board import Board, BoardSpec
from harness.board.machine import Media
from harness.clock import Deadline
from harness.errors import ClaimViolated, GuestFault, HarnessBug, HostProblem, Inconclusive
from harness.evidence import Events, RunFolder
from harness.faults.power import console, mark, writes
from harness.judge import ServerRecord, encode_copy, parse_text
from harness.lab import Lab, Timeouts
from harness.lab.device import keepsakes
from harness.lab.rig import Parts
from harness.storage import ExtentMap, WriteLog
from images.catalogue import DEFAULT_ENVIRONMENT
from images.layout import SECTOR
from tests.unit.small_board import LAYOUT, make_image
from tests.unit.write_logs import FLUSH, flag, step, write, write_log

STRIP = LAYOUT.marks.start // SECTOR
SLOT_B = LAYOUT.partition("rootfs-b").start // SECTOR
ENV = [offset // SECTOR for offset in LAYOUT.env_offsets]
SEED = 5
IMAGES = {name: random.Random(name).randbytes(64 * 1024) for name in ("a", "b")}
DEFAULTS = parse_text(DEFAULT_ENVIRONMENT.read_text())
UP = {"a": b"release-a is up on /dev/vda1\n", "b": b"release-b is up on /dev/vda2\n"}
SHORT = Timeouts(up=0.2, fault=0.2, settle=0.2)
FAILED = ("downloading", "installing", "rebooting", "failure")
SUCCEEDED = ("downloading", "installing", "rebooting", "installing", "success")


def environment(flag_: int, **changes: str) -> bytes:
    return encode_copy(DEFAULTS | {"mender_saveenv_canary": "1"} | changes, flag_, LAYOUT.env_size)


def sectors(first: int, data: bytes) -> list[bytes]:
    """A write of one sector each, as the card gets them."""
    return [write(first + at // SECTOR, data[at : at + SECTOR]) for at in range(0, len(data), SECTOR)]


def image_in_b(name: str = "b") -> list[bytes]:
    """An update's writes to the passive slot, flushed."""
    return [step(STRIP, "slot.write"), write(SLOT_B, IMAGES[name]), flag(FLUSH), step(STRIP, "slot.flushed", 1)]


FLIP = environment(3, mender_boot_part="2", mender_boot_part_hex="2", upgrade_available="1")
COMMITTED = environment(4, mender_boot_part="2", mender_boot_part_hex="2", upgrade_available="0", bootcount="1")
BACK = environment(4, mender_boot_part="1", mender_boot_part_hex="1", upgrade_available="0", bootcount="2")


class Terminal:
    """What the board says."""

    def __init__(self, text: bytes) -> None:
        self.text = text

    def expect(self, pattern: str, deadline: Deadline) -> None:
        if pattern.encode() not in self.text:
            raise GuestFault(f"The console did not show '{pattern}' within {deadline.seconds:.0f} s.")

    def close(self) -> None:
        pass


class Plug:
    """A machine that runs until it is switched off."""

    running = True
    ended_well = False

    def kill(self) -> None:
        self.running = False

    def said(self) -> str:
        return "no more"


class WrittenBoard(Board):
    """Its power-ons are scripts: what is written, and what is said."""

    script: tuple[list[bytes], bytes] = ([], UP["a"])

    def power_on(self) -> None:
        entries, said = self.script
        self.power_ons += 1
        self.argv = ("qemu",)
        path = self.folder / f"write-{self.power_ons}.log"
        write_log(path, *entries)
        self._process, self._console, self._log = Plug(), Terminal(said), WriteLog(path)  # type: ignore[assignment]


class ToldServer:
    """Answers what the test says it was told."""

    def __init__(self) -> None:
        self.history: tuple[str, ...] = ()
        self.says = ""  # what the device calls itself; empty: as it should
        self.polls_after = 1.0  # seconds between the end of the deployment and the next request for work
        self.kept: dict[str, Any] = {"journal": [], "log": ""}
        self.uploads: list[Path] = []

    def upload(self, artifact: Path) -> None:
        self.uploads.append(artifact)

    def deploy(self, *_: str) -> str:
        return "deployment"

    def record(self, *_: str) -> ServerRecord:
        status = self.history[-1] if self.history else None
        record = ServerRecord(status, self.history)
        return ServerRecord(status, self.history, self._end().isoformat()) if record.final else record

    def last_poll(self, _: str) -> str:
        return (self._end() + timedelta(seconds=self.polls_after)).isoformat()

    def artifact_name(self, _: str) -> str:
        return self.says or ("release-b" if self.history[-1:] == ("success",) else "release-a")

    def log(self, *_: str) -> str:
        return str(self.kept["log"])

    def journal(self) -> list[dict[str, str]]:
        return list(self.kept["journal"])

    def _end(self) -> datetime:
        return datetime.now(UTC) + timedelta(seconds=60)


class Shelf:
    """Images without a workshop."""

    device_type = "board"
    layout = LAYOUT

    def default_environment(self) -> str:
        return DEFAULT_ENVIRONMENT.read_text()

    def slot_image(self, version: str) -> tuple[int, str]:
        return len(IMAGES[version]), hashlib.sha256(IMAGES[version]).hexdigest()

    def artifact(self, version: str, signer: str) -> Path:
        return Path(f"{version}-{signer}.mender")

    def artifact_name(self, version: str) -> str:
        return f"release-{version}"


@pytest.fixture(scope="module")
def factory(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board's image with version a in slot A, the owner's files, and an environment that U-Boot has saved twice."""
    image = make_image(tmp_path_factory.mktemp("lab"), keepsakes(SEED))
    with image.open("r+b") as out:
        for at, content in (
            (LAYOUT.partition("rootfs-a").start, IMAGES["a"]),
            (LAYOUT.env_offsets[0], environment(1)),
            (LAYOUT.env_offsets[1], environment(2)),
        ):
            out.seek(at)
            out.write(content)
    return image


@pytest.fixture
def lab(factory: Path, tmp_path: Path) -> Iterator[Lab]:
    """A laboratory whose board is on and runs version a; version b is deployed."""
    folder = RunFolder(tmp_path, "lab", SEED)

    def start(*_: object) -> Parts:
        spec = BoardSpec(uboot=Path("u-boot.bin"), layout=LAYOUT)
        board = WrittenBoard(spec, Media(factory, ExtentMap()), folder.path, paramiko.ECDSAKey.generate())
        ends = ExitStack()
        ends.callback(board.close)
        return Parts(ToldServer(), SimpleNamespace(), board, ends)  # type: ignore[arg-type]

    with (
        closing(Events(folder / "events.jsonl")) as events,
        closing(Lab(Shelf(), folder, events, SEED, start)) as made,  # type: ignore[arg-type]
    ):
        made.timeouts = SHORT
        yield made


def begin(lab: Lab, *entries: bytes, said: bytes = UP["a"], told: tuple[str, ...] = ()) -> None:
    """Switch the board on; it writes and says this, and the server has been told that."""
    lab.board.script = (list(entries), said)  # type: ignore[attr-defined]
    lab.server.history = told  # type: ignore[attr-defined]
    lab.power_on()
    if lab.wanted == "a":
        lab.deploy("b")


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


def test_a_board_that_reported_after_the_moment_is_inconclusive(lab: Lab) -> None:
    begin(lab, *image_in_b(), step(STRIP, "report.installing", 2))
    with pytest.raises(Inconclusive, match=r"went on to 'report\.installing'"):
        lab.cut_power(mark("slot.flushed"))


def test_what_is_bad_whatever_was_told_later_is_a_violation(lab: Lab) -> None:
    begin(
        lab, flag(FLUSH), write(SLOT_B, IMAGES["b"]), step(STRIP, "install.flip"), *sectors(ENV[0], FLIP),
        step(STRIP, "report.rebooting", 1),
    )  # fmt: skip
    with pytest.raises(ClaimViolated, match="Slot B, which U-Boot boots, is neither a nor b"):
        lab.cut_after_env_write(after="install.flip", says="Cut after the flip")
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
    asked = [{"path": "/artifacts/download/1", "range": one} for one in ranges]
    lab.server.kept["journal"] = [{"path": "/next", "range": ""}, *asked]  # type: ignore[attr-defined]
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
