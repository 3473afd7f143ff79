# SPDX-License-Identifier: Apache-2.0
"""One real board: the three power verbs differ as they must, and the same seed gives the same disk."""

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from harness.faults.power import writes
from harness.lab import Lab, scratch_lab
from harness.storage import CrashPoint, WriteLog, choose, crash_extents, flushes, open_epoch, write_overlay
from images.catalogue import Catalogue

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
UNSYNCED = "echo unsynced > /data/unsynced"
SYNCED = "echo synced > /data/synced && sync"


@pytest.fixture
def bench(catalogue: Catalogue) -> Iterator[Lab]:
    with scratch_lab(catalogue, "board", 5) as lab:
        lab.join()
        yield lab


def unflushed(lab: Lab, position: int) -> frozenset[int]:
    """All that a cut at this position of the log may lose."""
    epoch = open_epoch(lab.board.log.operations, position, lab.board.spec.layout)
    return frozenset(operation.index for operation in epoch)


def test_a_soft_reboot_keeps_what_was_not_synced(bench: Lab) -> None:
    bench.run(f"{SYNCED}; {UNSYNCED}")
    bench.soft_reboot()
    bench.wait_up()
    assert bench.run("cat /data/unsynced /data/synced").split() == ["unsynced", "synced"]


def test_a_cut_loses_what_was_not_synced(bench: Lab) -> None:
    bench.run(f"{SYNCED}; {UNSYNCED}")
    bench.board.cut_power(lambda log: CrashPoint(len(log), unflushed(bench, len(log))))
    bench.power_on(off_for=0.5)
    bench.wait_up()
    assert bench.run("ls /data/unsynced 2>/dev/null; cat /data/synced").split() == ["synced"]


def test_the_button_restarts_the_same_machine(bench: Lab) -> None:
    before = bench.run("cat /proc/sys/kernel/random/boot_id")
    bench.reset()
    bench.wait_up()
    assert bench.run("cat /proc/sys/kernel/random/boot_id") != before
    assert bench.board.power_ons == 1


def test_a_key_stops_the_board_in_its_bootloader(bench: Lab) -> None:
    """And it goes on when it is told to."""
    bench.reset()
    bench.interrupt_boot()
    console = bench.board.console
    console.send(b"printenv mender_boot_part bootlimit\r")
    console.expect("mender_boot_part=1\\s+bootlimit=1", bench.deadline())
    console.send(b"boot\r")
    assert bench.wait_up() == "a"


def test_the_same_seed_gives_the_same_disk(bench: Lab, tmp_path: Path) -> None:
    bench.deploy("b")
    before = bench.board.media
    point = bench.cut_power(writes(40, to="passive", after="slot.write"))
    after, log, layout = bench.board.media, bench.board.log, bench.board.spec.layout
    assert flushes(log.operations) > 0
    assert point.lost
    # From what the run folder keeps, the media of the live cut are made again, byte for byte.
    (kept,) = json.loads((bench.folder / "cuts.json").read_text())
    write_overlay(tmp_path / "cut", after.base, layout.size, after.extents)
    with WriteLog(log.path) as reread:
        reread.poll()
        again = crash_extents(reread, CrashPoint.parse(kept["point"]), layout).over(before.extents)
    write_overlay(tmp_path / "again", before.base, layout.size, again)
    assert (tmp_path / "cut").read_bytes() == (tmp_path / "again").read_bytes()
    assert kept["media"] == after.extents.digest()
    # And the seed alone decides what is lost.
    chosen = {str(choose(log.operations, point.position, layout, lose="some", seed=99)) for _ in range(3)}
    assert len(chosen) == 1
