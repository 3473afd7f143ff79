# SPDX-License-Identifier: Apache-2.0
"""What exploring is worth: crash points that are judged in a minute, beside the usual way on the same board.

The usual way: a new board joins, an update is deployed, the power fails at a random time while it lasts, the board is
switched on again, and somebody looks when it has settled.  That is one crash point, and whatever was written is kept.
The other way: one update is recorded, all its crash points are judged, and some are booted.  Both run on one core, in
one run, and all that a crash point needs is in its time.  Prints one JSON object with three ratios: for all points that
were judged, for those that a boot decides (it was booted, or holds the same in all that the boot has read), and for
those that were booted themselves.
"""

from __future__ import annotations

import argparse
import json
import os
import random
import statistics
import tempfile
import time
from functools import partial
from pathlib import Path

from harness.clock import pause
from harness.commands.explore import recorded
from harness.explore.exploration import Exploration
from harness.explore.plan import Plan
from harness.explore.pool import booted
from harness.lab import scratch_lab
from harness.narrator import Narrator
from harness.storage import CrashPoint
from images.catalogue import Catalogue
from images.stage import Workshop

SEED = 5
STORY, VERSION = "managed", "b"


def usual(catalogue: Catalogue, number: int, update_seconds: float) -> float:
    """One crash point the usual way; returns how long it took, in seconds."""
    began = time.monotonic()
    with scratch_lab(catalogue, "usual", number) as lab:
        lab.join()
        lab.deploy(VERSION)
        pause(random.Random(number).uniform(0, update_seconds))
        lab.board.cut_power(lambda operations: CrashPoint(len(operations)))
        lab.power_on()
        if not lab.settle():
            raise SystemExit("The board did not settle.")
        lab.environment()
        lab.record()
    return time.monotonic() - began


def explored(folder: Path, boots: int) -> dict[str, float]:
    """One exploration: how long each part took, in seconds, and how many points it examined in which way."""
    narrator = Narrator()
    began = time.monotonic()
    run, recording = recorded(STORY, SEED, None, folder, narrator)
    exploration = Exploration(run, recording, narrator.say)
    at_record = time.monotonic()
    exploration.judge(Plan(boots, SEED))
    at_judge = time.monotonic()
    for _ in exploration.boot(exploration.planned()[:boots], partial(booted, workers=1)):
        pass
    exploration.decide()
    at_boot = time.monotonic()
    report = exploration.report()
    return {
        "update_s": recording.about.seconds,
        "record_s": round(at_record - began, 1),
        "judge_s": round(at_judge - at_record, 1),
        "boot_s": round(at_boot - at_judge, 1),
        "judged": report["states_judged"],
        "decided": report["states_decided"],
        "booted": report["states_booted"],
        "violations": len(report["violations"]),
        "inconclusive": report["inconclusive"],
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cuts", type=int, default=4, metavar="N", help="crash points the usual way (4)")
    parser.add_argument("--boots", type=int, default=4, metavar="N", help="boots of the exploration (4)")
    options = parser.parse_args()
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})  # boards and servers are started from here, so they, too
    catalogue = Catalogue(Workshop())
    catalogue.board_image()  # images that have to be built first are no part of either
    with tempfile.TemporaryDirectory() as scratch:
        found = explored(Path(scratch), options.boots)
    taken = [usual(catalogue, number, found["update_s"]) for number in range(1, options.cuts + 1)]
    per_minute = 60 / statistics.mean(taken)
    minutes = (found["record_s"] + found["judge_s"] + found["boot_s"]) / 60
    print(
        json.dumps(
            {
                "usual_s": [round(one, 1) for one in taken],
                "usual_per_minute": round(per_minute, 2),
                "explored": found,
                "judged_per_minute": round(found["judged"] / minutes),
                "ratio_judged": round(found["judged"] / minutes / per_minute),
                "ratio_decided_by_a_boot": round(found["decided"] / minutes / per_minute),
                "ratio_booted": round(found["booted"] / minutes / per_minute, 2),
            },
            indent=1,
        )
    )


if __name__ == "__main__":
    main()
