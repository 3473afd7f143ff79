# SPDX-License-Identifier: Apache-2.0
"""One exploration: a recorded update, all its points judged, some of them booted, and what came of it.

The folder holds all of it, so that it can be gone on with, replayed and sent to somebody:

recording/       see harness.explore.recording; in the end one file, recording-*.tar.zst (harness.explore.archive)
boots/           a run folder for each boot
plan.json        what is to be booted, and why
boots.jsonl      what became of each, as it came
decided.json     how many points each boot decides
least.json       what only boots have shown to be violated, and the least that still is
update.svg       the picture: what a cut after each write leads to
report.json      the outcome, and for people:
report.html
"""

from __future__ import annotations

import json
import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Final, TypeVar

from harness.errors import UsageError
from harness.explore.chosen import CLASS, Chosen, choose, in_words
from harness.explore.coverage import Coverage, Witness
from harness.explore.explained import explain, explain_boot
from harness.explore.forecast import forecast
from harness.explore.page import page
from harness.explore.picture import draw
from harness.explore.plan import Plan, violates
from harness.explore.pool import Pool
from harness.explore.recording import Heard, Recording
from harness.explore.revive import TOUCHED, Booted, Task
from harness.explore.space import Space
from harness.explore.static import DeviceState, Judged, StaticJudge
from harness.explore.touched import Touched
from harness.judge import Outcome
from harness.storage import CrashPoint

VERSION: Final = 2  # of the files below
TELL_SECONDS: Final = 20.0  # between words on how far it is
PLAN, BOOTS, DECIDED, EXPLAINED = "plan.json", "boots.jsonl", "decided.json", "least.json"
REPORT, PAGE, PICTURE, WORKERS = "report.json", "report.html", "update.svg", "workers.log"
T = TypeVar("T")


class Exploration:
    """Works in `folder`, on its recording; tells `say` how it goes."""

    def __init__(self, folder: Path, recording: Recording, say: Callable[[str], None]) -> None:
        self.folder, self.recording, self.say = folder, recording, say
        self.seconds = 0.0

    def judge(self, plan: Plan, *, everything: bool = False) -> list[Chosen]:
        """Judge all points of the space, and choose those that are booted; both are kept."""
        began = time.monotonic()
        space = Space(self.recording, everything=everything, seed=plan.seed)
        count = space.count()
        examined = f"{count.examined_positions} of {count.positions} positions are examined"
        self.say(f"There are {count.total:,} crash points; {examined}.")
        judge = StaticJudge(self.recording)
        outcomes: dict[int, set[str]] = {}
        told = began
        for judged in judge.judge_all(space):
            plan.add(judged)
            if time.monotonic() - told > TELL_SECONDS:
                told = time.monotonic()
                done = bisect_right(space.positions, judged.point.position) / len(space.positions)
                self.say(f"{plan.judged:,} points judged, {done:.0%} of the positions")
            outcomes.setdefault(judged.point.position, set()).add(self._outcome(judged))
        seconds = time.monotonic() - began
        pace = f"{plan.judged:,} points judged in {seconds:.0f} s ({plan.judged / seconds:.0f} a second)"
        self.say(f"{pace}: {len(plan.classes)} classes, {len(plan.suspicious)} points are suspicious.")
        chosen = choose(plan, self.recording, self.folder / "boots")
        self._draw({position: _together(found) for position, found in outcomes.items()}, plan)
        violations = explain(self.recording, [one for one in plan.representatives() if violates(one)])
        self._keep(PLAN, {
            "version": VERSION, "everything": everything, "states_total": count.total, "states_judged": plan.judged,
            "contents": judge.contents, "seconds": round(seconds, 2), "violations": violations,
            "chosen": [asdict(one) for one in chosen],
            "classes": [{"points": one.points, **_described(state)} for (state, _), one in plan.classes.items()],
            "suspicious": [self._named(one.point, one.heard) for one in plan.suspicious if not violates(one)],
        })  # fmt: skip
        return chosen

    @property
    def is_planned(self) -> bool:
        """Whether all points have been judged."""
        return (self.folder / PLAN).exists()

    def planned(self) -> list[Chosen]:
        """What was chosen, as it was kept."""
        return [Chosen.of(one) for one in self._plan()["chosen"]]

    def boot(self, chosen: Sequence[Chosen], pool: Pool) -> Iterator[tuple[Chosen, Booted]]:
        """Boot those that have not been booted yet, in this pool; each result is kept before it is given."""
        done = {name for name, one in self._booted().items() if one["outcome"] != Outcome.INCONCLUSIVE.value}
        left = [one for one in chosen if one.crash_id not in done]
        by_task = {one.task: one for one in left}
        results = pool([one.task for one in left], self.folder / WORKERS)
        began = time.monotonic()
        with (self.folder / BOOTS).open("a", buffering=1) as kept:
            for number, (task, result) in enumerate(results, 1):
                one = by_task[task]
                kept.write(json.dumps({"crash_id": one.crash_id, **result.as_dict()}) + "\n")
                rest = (time.monotonic() - began) / number * (len(left) - number)
                self.say(f"{number} of {len(left)} booted, {rest:.0f} s left: {result.outcome}, {one.says}")
                yield one, result

    def decide(self) -> None:
        """Count the points that the boots so far decide: those that no recovery could tell from a booted one; and the
        suspicious points of which no boot says anything.
        """
        results = self._booted()
        possible = (self._witness(one, results.get(one.crash_id)) for one in self.planned())
        witnesses = [one for one in possible if one is not None]
        space = Space(self.recording, everything=self._plan()["everything"], seed=self.recording.about.seed)
        counts = Counter[str]()
        waiting = set(self._plan()["suspicious"])
        waiting -= {_name(one.task.point, one.task.heard) for one in self.planned() if one.crash_id in results}
        for point, heard, witness in Coverage(self.recording, witnesses).decided(space):
            counts[witness.name] += 1
            waiting.discard(self._named(point, heard))
        self._keep(DECIDED, {"points": counts, "suspicious_left": len(waiting)})
        self.say(f"{len(witnesses)} boots decide {counts.total():,} points.")

    def _witness(self, one: Chosen, result: dict[str, Any] | None) -> Witness | None:
        """What the boot of a chosen point bears witness of; None if it did not hold, or was none."""
        if result is None or result["outcome"] != Outcome.HELD.value:
            return None
        about, layout = self.recording.about, self.recording.about.layout
        touched = Touched.unpacked(Path(result["folder"], TOUCHED).read_bytes())
        free = [layout.partition(f"rootfs-{result['unused']}")] if result["unused"] else []
        windows = tuple(touched.matters(layout, free))
        return Witness(one.crash_id, CrashPoint.parse(one.task.point), about.heard[one.task.heard], windows, one.whole)

    def _named(self, point: CrashPoint, heard: Heard) -> str:
        return _name(str(point), self.recording.about.heard.index(heard))

    def explain(self, boots: int, pool: Pool) -> None:
        """Look for the least that still is violated, where only boots have shown it, with so many boots for each."""
        known = {one["crash_id"] for one in self.violations()}
        results = self._booted()
        for one in self.planned():
            result = results.get(one.crash_id, {})
            if result.get("outcome") != Outcome.VIOLATED.value or one.crash_id in known or not boots:
                continue
            self.say(f"The least that still is violated is looked for: {one.crash_id}")

            def breaks(point: CrashPoint, like: Task = one.task) -> bool:
                task = replace(like, point=str(point))
                ((_, again),) = pool([task], self.folder / WORKERS)
                return again.outcome == Outcome.VIOLATED.value

            found = explain_boot(self.recording, one, result["says"], breaks, boots)
            self._keep(EXPLAINED, [*self._read(EXPLAINED, []), found])

    def violations(self) -> list[dict[str, Any]]:
        """What is violated, with the least that still is: one point of each class, and what only boots have shown."""
        return [*self._plan()["violations"], *self._read(EXPLAINED, [])]

    def booted_violations(self) -> dict[str, str]:
        """What was violated when it was booted, by crash ID."""
        results = self._booted().items()
        return {name: one["says"] for name, one in results if one["outcome"] == Outcome.VIOLATED.value}

    def report(self) -> dict[str, Any]:
        """What came of it, so far; kept, too."""
        plan, results, chosen = self._plan(), self._booted(), self.planned()
        at_once = [one.crash_id for one in chosen if one.violates]
        later = self.booted_violations()
        unclear = [name for name, one in results.items() if one["outcome"] == Outcome.INCONCLUSIVE.value]
        right = sum(one.is_forecast(results[one.crash_id]) for one in chosen if one.crash_id in results)
        nothing: dict[str, Any] = {"points": {}, "suspicious_left": len(plan["suspicious"])}
        decided = self._read(DECIDED, nothing)
        booted = results.keys() - {name for name in unclear if not results[name]["folder"]}  # these could not be
        report = {
            "states_total": plan["states_total"],
            "states_judged": plan["states_judged"],
            "states_booted": len(booted),
            "states_decided": sum(decided["points"].values()),
            "suspicious": len(plan["suspicious"]),
            "suspicious_left": decided["suspicious_left"],
            "classes": len(plan["classes"]),
            "classes_booted": sum(one.why == CLASS and one.crash_id in booted for one in chosen),
            "violations": sorted({*at_once, *later}),
            "inconclusive": len(unclear),
            "as_forecast": right,
            "seconds": round(self.seconds, 1),
        }
        self._keep(REPORT, report)
        picture = (self.folder / PICTURE).read_text()
        (self.folder / PAGE).write_text(page(self._title, report, self.violations(), chosen, results, picture))
        return report

    def _outcome(self, judged: Judged) -> str:
        """What a cut there leads to, as the picture has it."""
        if violates(judged):
            return "violated"
        return forecast(judged.state, self.recording.about).ends or "old"

    def _draw(self, outcomes: dict[int, str], plan: Plan) -> None:
        title = f"{self._title}: {plan.judged:,} crash points, {len(plan.classes)} classes"
        (self.folder / PICTURE).write_text(draw(self.recording, outcomes, title))

    @property
    def _title(self) -> str:
        about = self.recording.about
        planted = f", with the planted fault {about.planted}" if about.planted else ""
        return f"{about.story}, seed {about.seed}{planted}"

    def _plan(self) -> dict[str, Any]:
        path = self.folder / PLAN
        plan: dict[str, Any] = json.loads(path.read_text())
        if plan.get("version") != VERSION:
            said = f"{path} is not of version {VERSION}: its points were judged by other rules."
            raise UsageError(said, f"Move it, {BOOTS} and {DECIDED} away, and they are judged anew.")
        return plan

    def _booted(self) -> dict[str, dict[str, Any]]:
        """The results so far, by crash ID."""
        path = self.folder / BOOTS
        lines = path.read_text().splitlines() if path.exists() else []
        return {one["crash_id"]: one for one in map(json.loads, lines)}

    def _read(self, name: str, otherwise: T) -> T:
        path = self.folder / name
        found: T = json.loads(path.read_text()) if path.exists() else otherwise
        return found

    def _keep(self, name: str, document: Any) -> None:
        """Whole or not at all, in case somebody interrupts."""
        beside = self.folder / f"{name}.new"
        beside.write_text(json.dumps(document, indent=1) + "\n")
        beside.replace(self.folder / name)


def _together(outcomes: set[str]) -> str:
    """One word for all points at a position."""
    if "violated" in outcomes:
        return "violated"
    return outcomes.pop() if len(outcomes) == 1 else "both"


def _name(point: str, heard: int) -> str:
    """Of a point with what the server had heard, within a recording."""
    return f"{point} {heard}"


def _described(state: DeviceState) -> dict[str, Any]:
    return {"says": in_words(state), **asdict(state)}
