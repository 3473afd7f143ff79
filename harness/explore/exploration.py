# SPDX-License-Identifier: Apache-2.0
"""One exploration: a recorded update, all its points judged, some of them booted, and what came of it.

The folder holds all of it, so that it can be gone on with, replayed and sent to somebody:

recording/       see harness.explore.recording; in the end one file, recording-*.tar.zst (harness.explore.archive)
boots/           a run folder for each boot
plan.json        what is to be booted, and why
boots.jsonl      what became of each, as it came
decided.json     how many points each boot decides
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
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

from harness.explore.coverage import Coverage, Witness
from harness.explore.crashid import CrashId
from harness.explore.forecast import forecast
from harness.explore.minimal import minimal
from harness.explore.order import RULE as ORDER
from harness.explore.page import page
from harness.explore.picture import draw
from harness.explore.plan import Plan
from harness.explore.pool import booted
from harness.explore.progress import RULE as PROGRESS
from harness.explore.recording import Recording
from harness.explore.revive import TOUCHED, Booted, Task
from harness.explore.space import Space
from harness.explore.static import DeviceState, Judged, StaticJudge
from harness.explore.touched import Touched
from harness.explore.words import Words
from harness.judge import Outcome
from harness.storage import CrashPoint

# What a start may still mend; all other rules are about what holds at every moment.
MENDABLE: Final = frozenset({"data", "store", ORDER, PROGRESS})
TELL_SECONDS: Final = 20.0  # between words on how far it is
PAGE: Final = "report.html"
PLAN, BOOTS, REPORT, PICTURE, DECIDED = "plan.json", "boots.jsonl", "report.json", "update.svg", "decided.json"


@dataclass(frozen=True)
class Chosen:
    """A point that is booted, and what the static judge thinks of it.

    Attributes:
        why: class, suspicious or sample.
        starts, ends: the forecast.
        violates: the rules that do not hold at the moment itself.
        points: how many points its class has.
    """

    crash_id: str
    task: Task
    why: str
    says: str
    starts: str | None
    ends: str | None
    violates: tuple[str, ...]
    points: int


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
        chosen = self._chosen(plan)
        self._draw({position: _together(found) for position, found in outcomes.items()}, plan)
        violations = self._explained([one for one in plan.representatives() if _violates(one)])
        self._keep(PLAN, {
            "everything": everything, "states_total": count.total, "states_judged": plan.judged,
            "contents": judge.contents, "seconds": round(seconds, 2), "violations": violations,
            "chosen": [asdict(one) for one in chosen],
            "classes": [{"points": one.points, **_described(state)} for state, one in plan.classes.items()],
        })  # fmt: skip
        return chosen

    @property
    def is_planned(self) -> bool:
        """Whether all points have been judged."""
        return (self.folder / PLAN).exists()

    def planned(self) -> list[Chosen]:
        """What was chosen, as it was kept."""
        return [_chosen(one) for one in self._plan()["chosen"]]

    def boot(self, chosen: Sequence[Chosen], workers: int) -> Iterator[tuple[Chosen, Booted]]:
        """Boot those that have not been booted yet; each result is kept before it is given."""
        done = self._booted()
        left = [one for one in chosen if one.crash_id not in done]
        by_task = {one.task: one for one in left}
        results = booted([one.task for one in left], workers, self.folder / "workers.log")
        began = time.monotonic()
        with (self.folder / BOOTS).open("a", buffering=1) as kept:
            for number, (task, result) in enumerate(results, 1):
                one = by_task[task]
                kept.write(json.dumps({"crash_id": one.crash_id, **result.as_dict()}) + "\n")
                rest = (time.monotonic() - began) / number * (len(left) - number)
                self.say(f"{number} of {len(left)} booted, {rest:.0f} s left: {result.outcome}, {one.says}")
                yield one, result

    def decide(self) -> None:
        """Count the points that the boots so far decide: those that no recovery could tell from a booted one."""
        plan, results = self._plan(), self._booted()
        witnesses = [
            found for one in plan["chosen"] if (found := self._witness(one, results.get(one["crash_id"]))) is not None
        ]
        space = Space(self.recording, everything=plan["everything"], seed=self.recording.about.seed)
        counts = Counter(one.name for _, _, one in Coverage(self.recording, witnesses).decided(space))
        self._keep(DECIDED, counts)
        self.say(f"{len(witnesses)} boots decide {counts.total():,} points.")

    def _witness(self, one: dict[str, Any], result: dict[str, Any] | None) -> Witness | None:
        """What the boot of a chosen point bears witness of; None if it did not hold, or was none."""
        if result is None or result["outcome"] != Outcome.HELD.value:
            return None
        about, layout = self.recording.about, self.recording.about.layout
        touched = Touched.unpacked(Path(result["folder"], TOUCHED).read_bytes())
        free = [layout.partition(f"rootfs-{result['unused']}")] if result["unused"] else []
        task = one["task"]
        windows = tuple(touched.matters(layout, free))
        return Witness(one["crash_id"], CrashPoint.parse(task["point"]), about.heard[task["heard"]], windows)

    def violations(self) -> list[dict[str, Any]]:
        """What is violated at the moment itself, one point of each class, as it was kept."""
        found: list[dict[str, Any]] = self._plan()["violations"]
        return found

    def report(self) -> dict[str, Any]:
        """What came of it, so far; kept, too."""
        plan, results = self._plan(), self._booted()
        chosen = plan["chosen"]
        at_once = [one["crash_id"] for one in chosen if one["violates"]]
        later = [name for name, one in results.items() if one["outcome"] == Outcome.VIOLATED.value]
        unclear = [name for name, one in results.items() if one["outcome"] == Outcome.INCONCLUSIVE.value]
        right = sum(_as_forecast(one, results[one["crash_id"]]) for one in chosen if one["crash_id"] in results)
        report = {
            "states_total": plan["states_total"],
            "states_judged": plan["states_judged"],
            "states_booted": len(results),
            "states_decided": sum(self._decided().values()),
            "classes": len(plan["classes"]),
            "classes_booted": sum(one["why"] == "class" and one["crash_id"] in results for one in chosen),
            "violations": sorted({*at_once, *later}),
            "inconclusive": len(unclear),
            "as_forecast": right,
            "seconds": round(self.seconds, 1),
        }
        self._keep(REPORT, report)
        picture = (self.folder / PICTURE).read_text()
        (self.folder / PAGE).write_text(page(self._title, report, plan, results, picture))
        return report

    def _chosen(self, plan: Plan) -> list[Chosen]:
        found: dict[str, Chosen] = {}
        for why, points in (
            ("class", plan.representatives()),
            ("suspicious", plan.suspicious[: plan.boots]),
            ("sample", plan.sample()),
        ):
            for judged in points:
                one = self._choose(why, judged, plan.classes[judged.state].points, len(found) + 1)
                found.setdefault(one.crash_id, one)
        return list(found.values())

    def _outcome(self, judged: Judged) -> str:
        """What a cut there leads to, as the picture has it."""
        if _violates(judged):
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

    def _explained(self, violated: Sequence[Judged]) -> list[dict[str, Any]]:
        """For one point of each class that is violated at the moment itself: the least that still is, in words."""
        if not violated:
            return []
        judge, words = StaticJudge(self.recording), Words(self.recording)
        explained = []
        for one in sorted(violated, key=lambda judged: judged.point.position):
            least = minimal(judge, one.point, one.heard)
            explained.append(
                {
                    "crash_id": str(CrashId.of(self.recording, one.point, one.heard)),
                    "rules": _violates(one),
                    "says": one.verdict.sentence,
                    "least": str(CrashId.of(self.recording, least, one.heard)),
                    "words": words.of(least),
                }
            )
        return explained

    def _choose(self, why: str, judged: Judged, points: int, number: int) -> Chosen:
        about = self.recording.about
        task = Task(
            number=number,
            recording=str(self.recording.folder),
            point=str(judged.point),
            heard=about.heard.index(judged.heard),
            runs=str(self.folder / "boots"),
            follows=why == "class",
        )
        expected = forecast(judged.state, about)
        return Chosen(
            crash_id=str(CrashId.of(self.recording, judged.point, judged.heard)),
            task=task,
            why=why,
            says=in_words(judged.state),
            starts=expected.starts,
            ends=expected.ends,
            violates=_violates(judged),
            points=points,
        )

    def _plan(self) -> dict[str, Any]:
        plan: dict[str, Any] = json.loads((self.folder / PLAN).read_text())
        return plan

    def _booted(self) -> dict[str, dict[str, Any]]:
        """The results so far, by crash ID."""
        path = self.folder / BOOTS
        lines = path.read_text().splitlines() if path.exists() else []
        return {one["crash_id"]: one for one in map(json.loads, lines)}

    def _decided(self) -> dict[str, int]:
        """How many points each boot decides, by crash ID, as far as that was counted."""
        path = self.folder / DECIDED
        counts: dict[str, int] = json.loads(path.read_text()) if path.exists() else {}
        return counts

    def _keep(self, name: str, document: Any) -> None:
        """Whole or not at all, in case somebody interrupts."""
        beside = self.folder / f"{name}.new"
        beside.write_text(json.dumps(document, indent=1) + "\n")
        beside.replace(self.folder / name)


def in_words(state: DeviceState) -> str:
    """What a device in this state would find."""
    slot = f"slot {state.boot.slot.upper()}" if state.boot.slot else "no slot"
    trial = " on trial" if state.boot.trial else ""
    images = ", ".join(f"{name} {image or 'in part'}" for name, image in zip("AB", state.slots, strict=True))
    update = state.store.state if state.store and state.store.state else "no update"
    application = f", has the {state.application} application" if state.application else ""
    heard = f"the server heard {state.told or 'nothing'}"
    return f"starts {slot}{trial} ({images}){application}, goes on with {update}, {heard}"


def _together(outcomes: set[str]) -> str:
    """One word for all points at a position."""
    if "violated" in outcomes:
        return "violated"
    return outcomes.pop() if len(outcomes) == 1 else "both"


def _violates(judged: Judged) -> tuple[str, ...]:
    """The rules that do not hold at the moment itself, whatever a start might mend."""
    return tuple(one.rule for one in judged.verdict.violations if one.rule not in MENDABLE)


def _chosen(one: dict[str, Any]) -> Chosen:
    return Chosen(**{**one, "task": Task(**one["task"]), "violates": tuple(one["violates"])})


def _described(state: DeviceState) -> dict[str, Any]:
    return {"says": in_words(state), **asdict(state)}


def _as_forecast(one: dict[str, Any], result: dict[str, Any]) -> bool:
    return bool(
        result["outcome"] == Outcome.HELD.value and (one["starts"], one["ends"]) == (result["started"], result["ended"])
    )
