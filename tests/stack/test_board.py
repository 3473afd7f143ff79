# SPDX-License-Identifier: Apache-2.0
"""One real board: the three power verbs differ as they must, and the same seed gives the same disk."""

from pathlib import Path

import pytest

from harness.evidence import Events, RunFolder
from harness.faults.power import writes
from harness.lab import Lab
from harness.storage import CrashPoint, choose, crash_extents, flushes, open_epoch, write_overlay
from images.catalogue import Catalogue

pytestmark = [pytest.mark.stack, pytest.mark.timeout(600)]
UNSYNCED = "echo unsynced > /data/unsynced"
SYNCED = "echo synced > /data/synced && sync"


@pytest.fixture
def bench(tmp_path: Path, catalogue: Catalogue) -> Lab:
    folder = RunFolder(tmp_path, "board", 5)
    return Lab(catalogue, folder, Events(folder / "events.jsonl"), 5)


def test_reset_keeps_what_was_issued_and_a_cut_does_not(bench: Lab) -> None:
    try:
        bench.join()
        bench.run(f"{SYNCED}; {UNSYNCED}")
        bench.soft_reboot()
        bench.wait_up()
        assert bench.run("cat /data/unsynced /data/synced").split() == ["unsynced", "synced"]
        bench.run("rm /data/unsynced; sync; " + UNSYNCED)
        bench.board.log.poll()
        before = len(bench.board.log.operations)
        bench.board.cut_power(lambda log: CrashPoint(len(log), frozenset(o.index for o in _open(bench, len(log)))))
        assert before > 0
        bench.power_on()
        bench.wait_up()
        assert bench.run("ls /data").split().count("unsynced") == 0
        assert bench.run("cat /data/synced").strip() == "synced"
        bench.reset()
        bench.wait_up()
        assert bench.board.power_ons == 2
    finally:
        bench.close()


def _open(bench: Lab, position: int) -> list:  # type: ignore[type-arg]
    return open_epoch(bench.board.log.operations, position, bench.board.spec.layout)


def test_the_same_seed_gives_the_same_disk(bench: Lab, tmp_path: Path) -> None:
    try:
        bench.join()
        bench.deploy("b")
        point = bench.cut_power(writes(40, to="passive", after="slot.write"))
        log, layout = bench.board.log, bench.board.spec.layout
        assert flushes(log.operations) > 0
        files = []
        for copy in ("one", "two"):
            again = choose(log.operations, point.position, layout, lose="some", seed=99)
            extents = crash_extents(log, again, layout)
            write_overlay(tmp_path / copy, bench.board.media.base, layout.size, extents)
            files.append((tmp_path / copy).read_bytes())
        assert files[0] == files[1]
        assert CrashPoint.parse(str(point)) == point
    finally:
        bench.close()
