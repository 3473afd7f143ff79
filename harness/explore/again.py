# SPDX-License-Identifier: Apache-2.0
"""The second order: the power fails again while the board recovers.  The recovery from some first-order points is
recorded as the update was, and explored in the same way; what it finds has crash IDs of its own."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness.explore.archive import UNPACKED, pack
from harness.explore.chosen import CLASS, Chosen
from harness.explore.exploration import WORKERS, Exploration
from harness.explore.plan import Plan
from harness.explore.pool import Pool
from harness.explore.recording import Recording
from harness.judge import Outcome

FOLDER: Final = "recovery-{}"
ADDED: Final = (
    "states_total", "states_judged", "states_decided", "states_booted", "classes", "classes_booted", "inconclusive",
    "as_forecast",
)  # fmt: skip


def explore_again(exploration: Exploration, points: int, boots: int, pool: Pool) -> list[dict[str, Any]]:
    """Record the recovery from so many points, each of another class, and explore every one, with so many boots each.

    Returns the reports, each with the crash ID of the `first` cut.
    """
    reports = []
    for chosen, folder in _recorded(exploration, points, pool):
        exploration.say(f"The recovery from {chosen.crash_id}")
        recovery = Exploration(folder, Recording(folder / UNPACKED), exploration.say)
        recovery.judge(Plan(boots, exploration.recording.about.seed))
        for _ in recovery.boot(recovery.planned()[:boots], pool):
            pass
        recovery.decide()
        reports.append({"first": chosen.crash_id, **recovery.report()})
        pack(recovery.recording)
    return reports


def together(report: dict[str, Any], recoveries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One report for both orders; those of the recoveries are in it."""
    added = {name: report[name] + sum(one[name] for one in recoveries) for name in ADDED}
    violations = sorted({*report["violations"], *(name for one in recoveries for name in one["violations"])})
    return {**report, **added, "violations": violations, "recoveries": list(recoveries)}


def _recorded(exploration: Exploration, points: int, pool: Pool) -> list[tuple[Chosen, Path]]:
    """The first cuts, and the folders that hold the recordings of what followed; what was violated has none."""
    seed = exploration.recording.about.seed
    candidates = [one for one in exploration.planned() if one.why == CLASS and not one.violates]
    candidates = random.Random(seed).sample(candidates, min(points, len(candidates)))
    tasks = {}
    for number, one in enumerate(candidates, 1):
        folder = exploration.folder / FOLDER.format(number)
        folder.mkdir(exist_ok=True)
        tasks[replace(one.task, records=str(folder / UNPACKED), follows=False)] = (one, folder)
    found = []
    for task, result in pool(list(tasks), exploration.folder / WORKERS):
        one, folder = tasks[task]
        if result.outcome == Outcome.HELD.value:
            found.append((one, folder))
        else:
            exploration.say(f"The recovery from {one.crash_id} could not be recorded: {result.says}")
    return sorted(found, key=lambda pair: pair[1])
