# SPDX-License-Identifier: Apache-2.0
"""One exploration: a recorded update, all its points judged, some of them booted, and what came of it.

The folder holds all of it, so that it can be gone on with, replayed and sent to somebody:

recording/       see harness.explore.recording; in the end one file, recording-*.tar.zst (harness.explore.archive)
boots/           a run folder for each boot
recovery-N/      the same again for the recovery from one of the points (harness.explore.again)
options.json     what was asked for
plan.json        what is to be booted, and why
boots.jsonl      what became of each, as it came
decided.json     how many points each boot decides
least.json       what only boots have shown to be violated, and the least that still is
update.svg       the picture: what a cut after each write leads to
report.json      the outcome, and for people:
report.html
"""

from __future__ import annotations

import time
from bisect import bisect_right
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path
from typing import Any, Final

from harness.errors import UsageError
from harness.explore.chosen import Chosen, choose
from harness.explore.coverage import Coverage, Witness
from harness.explore.explained import explain, explain_boot
from harness.explore.figures import counted, figures, sayings, together
from harness.explore.forecast import forecast
from harness.explore.notes import Notes
from harness.explore.page import page, title_of
from harness.explore.picture import draw
from harness.explore.plan import Plan, violates
from harness.explore.pool import Pool
from harness.explore.recording import Heard, Recording
from harness.explore.revive import TOUCHED, Booted, Task
from harness.explore.space import Space
from harness.explore.static import Judged, StaticJudge
from harness.explore.touched import Touched
from harness.judge import Outcome
from harness.storage import CrashPoint

VERSION: Final = 2  # of the files below
TELL_SECONDS: Final = 20.0  # between words on how far it is
KEPT: Final = frozenset({"crash_id", *(one.name for one in fields(Booted))})
PLAN, BOOTS, DECIDED, EXPLAINED = "plan.json", "boots.jsonl", "decided.json", "least.json"
REPORT, PAGE, PICTURE, WORKERS, RUNS = "report.json", "report.html", "update.svg", "workers.log", "boots"


class Exploration:
    """Works in `folder`, on its recording; tells `say` how it goes."""

    def __init__(self, folder: Path, recording: Recording, say: Callable[[str], None]) -> None:
        self.folder, self.recording, self.say = folder, recording, say
        self.began = time.monotonic()
        self._notes = Notes(folder)
        before: dict[str, Any] = self._notes.read(REPORT, {})
        self._earlier = before.get("seconds", 0.0) - sum(one["seconds"] for one in before.get("recoveries", ()))

    def judge(self, plan: Plan, *, everything: bool = False) -> list[Chosen]:
        """Judge all points of the space, and choose those that are booted; both are kept."""
        began = time.monotonic()
        space = Space(self.recording, everything=everything, seed=plan.seed)
        count = space.count()
        examined = f"{count.examined_positions} of {count.positions} positions are examined"
        self.say(f"There are {counted(count.total)} crash points; {examined}.")
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
        chosen = choose(plan, self.recording)
        self._draw({position: _together(found) for position, found in outcomes.items()}, plan)
        violations = explain(self.recording, [one for one in plan.representatives() if violates(one)])
        self._notes.keep(PLAN, {
            "version": VERSION, "recording": self.recording.identity, "boots": plan.boots, "everything": everything,
            "states_total": count.total, "states_judged": plan.judged, "contents": judge.contents,
            "seconds": round(seconds, 2), "violations": violations, "chosen": [asdict(one) for one in chosen],
            "classes": [{"points": one.points, **asdict(state)} for (state, _), one in plan.classes.items()],
            "suspicious": [self._named(one.point, one.heard) for one in plan.suspicious if not violates(one)],
        })  # fmt: skip
        return self.planned()

    def is_planned(self, boots: int) -> bool:
        """Whether all points have been judged, and so many chosen as to boot that many, if there are."""
        return (self.folder / PLAN).exists() and self._plan()["boots"] >= boots

    def planned(self) -> list[Chosen]:
        """What was chosen, as it was kept; the folder may have been moved since.

        Raises:
            UsageError: what was kept is damaged, or belongs to another recording.
        """
        recording, runs = str(self.recording.folder), str(self.folder / RUNS)
        try:
            chosen = [Chosen.of(one) for one in self._plan()["chosen"]]
        except (AttributeError, KeyError, TypeError) as error:
            raise self._notes.damaged(PLAN, repr(error)) from error
        return [replace(one, task=replace(one.task, recording=recording, runs=runs)) for one in chosen]

    def boot(self, chosen: Sequence[Chosen], pool: Pool) -> Iterator[tuple[Chosen, Booted]]:
        """Boot those that have not been booted yet, in this pool; each result is kept before it is given."""
        done = {name for name, one in self._booted().items() if one["outcome"] != Outcome.INCONCLUSIVE.value}
        left = [one for one in chosen if one.crash_id not in done]
        by_task = {one.task: one for one in left}
        results = pool([one.task for one in left], self.folder / WORKERS)
        began = time.monotonic()
        for number, (task, result) in enumerate(results, 1):
            one = by_task[task]
            kept = replace(result, folder=Path(result.folder).name)
            self._notes.add(BOOTS, {"crash_id": one.crash_id, **kept.as_dict()})
            rest = (time.monotonic() - began) / number * (len(left) - number)
            self.say(f"{number} of {len(left)} booted, {rest:.0f} s left: {result.outcome}, {one.says}")
            yield one, result

    def decide(self) -> list[Chosen]:
        """Count the points that the boots so far decide: those that no recovery could tell from a booted one; and the
        suspicious points of which no boot says anything.  Returns those that were chosen of the latter.
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
        self._notes.keep(DECIDED, {"points": counts, "suspicious_left": len(waiting)})
        self.say(f"{len(witnesses)} boots decide {counts.total():,} points.")
        return [one for one in self.planned() if _name(one.task.point, one.task.heard) in waiting]

    def _witness(self, one: Chosen, result: dict[str, Any] | None) -> Witness | None:
        """What the boot of a chosen point bears witness of; None if it did not hold, or what it left is gone."""
        if result is None or result["outcome"] != Outcome.HELD.value:
            return None
        about, layout = self.recording.about, self.recording.about.layout
        left = self.folder / RUNS / result["folder"] / TOUCHED
        if not left.exists():
            return None
        touched = Touched.unpacked(left.read_bytes())
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
            self._notes.keep(EXPLAINED, [*self._explained(), found])

    def violations(self) -> list[dict[str, Any]]:
        """What is violated, with the least that still is: one point of each class, and what only boots have shown."""
        return [*self._plan()["violations"], *self._explained()]

    def _explained(self) -> list[dict[str, Any]]:
        nothing: list[dict[str, Any]] = []
        return self._notes.read(EXPLAINED, nothing)

    def sayings(self, report: Mapping[str, Any]) -> dict[str, str]:
        """What is wrong, by crash ID."""
        return sayings(report, self.violations(), self._booted())

    def report(self, recoveries: Sequence[dict[str, Any]] | None = None) -> dict[str, Any]:
        """What came of it, so far, and of the recoveries that were explored; kept, too, and as a page."""
        plan, results, chosen = self._plan(), self._booted(), self.planned()
        nothing: dict[str, Any] = {}
        decided = self._notes.read(DECIDED, nothing)
        about, seconds = self.recording.about, self._earlier + time.monotonic() - self.began
        report = {"story": about.story, "seed": about.seed, **figures(plan, chosen, results, decided, seconds)}
        if recoveries is not None:
            report = together(report, recoveries)
        self._notes.keep(REPORT, report)
        picture = self.folder / PICTURE
        drawn = picture.read_text() if picture.exists() else ""
        self._notes.keep_text(PAGE, page(about, report, self.violations(), chosen, results, drawn))
        return report

    def _outcome(self, judged: Judged) -> str:
        """What a cut there leads to, as the picture has it."""
        if violates(judged):
            return "violated"
        return forecast(judged.state, self.recording.about).ends or "old"

    def _draw(self, outcomes: dict[int, str], plan: Plan) -> None:
        title = f"{title_of(self.recording.about)}: {plan.judged:,} crash points, {len(plan.classes)} classes"
        self._notes.keep_text(PICTURE, draw(self.recording, outcomes, title))

    def _plan(self) -> dict[str, Any]:
        nothing: dict[str, Any] = {}
        plan = self._notes.read(PLAN, nothing)
        said, step = "", f"Move it and {EXPLAINED} away: it is judged anew; what was booted stays."
        if plan.get("version") != VERSION:
            said = f"{self.folder / PLAN} is not of version {VERSION}: its points were judged by other rules."
        elif plan.get("recording") != self.recording.identity:
            said = f"{self.folder / PLAN} is of recording {plan.get('recording')}, not of {self.recording.identity}."
        if said:
            raise UsageError(said, step)
        return plan

    def _booted(self) -> dict[str, dict[str, Any]]:
        """The results so far, by crash ID."""
        lines = self._notes.lines(BOOTS)
        for missing in (KEPT - one.keys() for one in lines):
            if missing:
                raise self._notes.damaged(BOOTS, f"a line has no {', '.join(sorted(missing))}")
        return {one["crash_id"]: one for one in lines}


def _together(outcomes: set[str]) -> str:
    """One word for all points at a position."""
    if "violated" in outcomes:
        return "violated"
    return outcomes.pop() if len(outcomes) == 1 else "both"


def _name(point: str, heard: int) -> str:
    """Of a point with what the server had heard, within a recording."""
    return f"{point} {heard}"
