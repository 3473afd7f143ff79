# SPDX-License-Identifier: Apache-2.0
"""The second order: the power fails again while the board recovers.  The recovery from some first-order points is
recorded as the update was, and explored in the same way; what it finds has crash IDs of its own."""

from __future__ import annotations

import random
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

from harness.errors import UsageError
from harness.explore.alone import alone
from harness.explore.archive import UNPACKED, found, pack, packed_name
from harness.explore.chosen import CLASS, Chosen
from harness.explore.exploration import WORKERS, Exploration
from harness.explore.figures import ADDED
from harness.explore.plan import Plan
from harness.explore.pool import Pool
from harness.explore.recording import ABOUT
from harness.explore.revive import Booted, Task
from harness.judge import Outcome

FOLDER: Final = "recovery-{}"


def explore_again(exploration: Exploration, points: int, boots: int, more: int, pool: Pool) -> list[dict[str, Any]]:
    """Record the recovery from so many points, each of another class, and explore every one, with so many boots each,
    and so many more at the most for suspicious points that these do not speak for.  One that was recorded already is
    gone on with.

    Returns the reports, each with the crash ID of the `first` cut, and with what it `says` if that was no recovery.
    """
    reports = []
    folders, failed = _recorded(exploration, points, pool)
    for result, chosen in failed:
        exploration.say(f"The recovery from {chosen.crash_id} could not be recorded: {result.says}")
        reports.append(_failed(chosen, result))
    for chosen, folder in folders:
        exploration.say(f"The recovery from {chosen.crash_id}")
        with alone(folder):
            recovery = Exploration(folder, found(folder), exploration.say)
            if not recovery.is_planned(boots + more):
                recovery.judge(Plan(boots + more, exploration.recording.about.seed))
            for _ in recovery.boot(recovery.planned()[:boots], pool):
                pass
            if waiting := recovery.decide()[:more]:
                for _ in recovery.boot(waiting, pool):
                    pass
                recovery.decide()
            reports.append({"first": chosen.crash_id, "folder": folder.name, **recovery.report()})
            pack(recovery.recording)
    return reports


def _failed(chosen: Chosen, result: Booted) -> dict[str, Any]:
    """The report on a recovery that could not be recorded, for it was none, or nothing can be said of it."""
    violated = result.outcome == Outcome.VIOLATED.value
    return {
        **dict.fromkeys(ADDED, 0), "first": chosen.crash_id, "says": result.says,
        "violations": [chosen.crash_id] * violated, "inconclusive": int(not violated),
    }  # fmt: skip


def _recorded(
    exploration: Exploration, points: int, pool: Pool
) -> tuple[list[tuple[Chosen, Path]], list[tuple[Booted, Chosen]]]:
    """The first cuts with the folders that hold the recordings of what followed; and what did not become one."""
    seed = exploration.recording.about.seed
    candidates = [one for one in exploration.planned() if one.why == CLASS and not one.violates]
    random.Random(seed).shuffle(candidates)
    folders = {}
    tasks: dict[Task, Chosen] = {}
    for number, one in enumerate(candidates[:points], 1):
        folder = exploration.folder / FOLDER.format(number)
        folders[one.crash_id] = folder
        if not _is_there(folder, one):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir()
            again = replace(one.task, records=str(folder / UNPACKED), first=one.crash_id, follows=False)
            tasks[again] = one
    failed = [
        (result, tasks[task])
        for task, result in pool(list(tasks), exploration.folder / WORKERS)
        if result.outcome != Outcome.HELD.value
    ]
    without = {one.crash_id for _, one in failed}
    return [(one, folders[one.crash_id]) for one in candidates[:points] if one.crash_id not in without], failed


def _is_there(folder: Path, one: Chosen) -> bool:
    """Whether the recovery from that cut has been recorded already, to its end.

    Raises:
        UsageError: what is there is damaged, or of another cut.
    """
    if not any(folder.glob(packed_name("*"))) and not (folder / UNPACKED / ABOUT).exists():
        return False  # at the most it was interrupted before anything was found out
    first = found(folder).about.first
    if first != one.crash_id:
        raise UsageError(f"{folder} is the recovery from {first}, not from {one.crash_id}.", "Move it elsewhere.")
    return True
