# SPDX-License-Identifier: Apache-2.0
"""The points that are booted, and what the static judge thinks of each: as values that a file can keep."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from harness.explore.crashid import CrashId
from harness.explore.forecast import STORING, forecast
from harness.explore.plan import Plan, kind_of, violates
from harness.explore.recording import Recording
from harness.explore.revive import Task
from harness.explore.static import DeviceState, Judged
from harness.judge import Outcome

CLASS: Final = "class"
SUSPICIOUS: Final = "suspicious"
SHORT: Final = 6  # characters of a digest, for people


@dataclass(frozen=True)
class Chosen:
    """A point that is booted, and what the static judge thinks of it.

    Attributes:
        why: class, suspicious or sample.
        starts, ends: the forecast.
        violates: the rules that do not hold at the moment itself.
        differs: what else makes its class, where the words are the same.
        whole: whether the data partition is, so that what a mount finds says all of it.
        points: how many points its class has.
    """

    crash_id: str
    task: Task
    why: str
    says: str
    starts: str | None
    ends: str | None
    violates: tuple[str, ...]
    differs: str
    whole: bool
    points: int

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Chosen:
        """The opposite of `dataclasses.asdict`."""
        return cls(**{**values, "task": Task(**values["task"]), "violates": tuple(values["violates"])})

    def is_forecast(self, result: Mapping[str, Any]) -> bool:
        """Whether a boot held, and went as it should."""
        seen = (result["started"], result["ended"])
        return bool(result["outcome"] == Outcome.HELD.value and seen == (self.starts, self.ends))


def choose(plan: Plan, recording: Recording) -> list[Chosen]:
    """One of each class, some suspicious ones, and a sample; where recording and boots are is said later."""
    found: dict[str, Chosen] = {}
    for why, points in (
        (CLASS, plan.representatives()),
        (SUSPICIOUS, plan.some_suspicious()),
        ("sample", plan.sample()),
    ):
        for judged in points:
            one = _chosen(why, judged, recording, number=len(found) + 1, points=plan.classes[kind_of(judged)].points)
            found.setdefault(one.crash_id, one)
    return list(found.values())


def _chosen(why: str, judged: Judged, recording: Recording, *, number: int, points: int) -> Chosen:
    about = recording.about
    task = Task(
        number=number,
        recording="",
        point=str(judged.point),
        heard=about.heard.index(judged.heard),
        runs="",
        follows=why == CLASS,
    )
    expected = forecast(judged.state, about)
    return Chosen(
        crash_id=str(CrashId.of(recording, judged.point, judged.heard)),
        task=task,
        why=why,
        says=in_words(judged.state, by_hand=about.by_hand),
        differs=_differs(judged.state),
        starts=expected.starts,
        ends=expected.ends,
        violates=violates(judged),
        whole=judged.state.data,
        points=points,
    )


def in_words(state: DeviceState, *, by_hand: bool = False) -> str:
    """What a device in this state would find; by hand there is no server."""
    slot = f"slot {state.boot.slot.upper()}" if state.boot.slot else "no slot"
    trial = " on trial" if state.boot.trial else ""
    images = ", ".join(f"{name} {image or 'in part'}" for name, image in zip("AB", state.slots, strict=True))
    update = state.store.state if state.store and state.store.state else "no update"
    if update == STORING and not (state.store and state.store.known):
        update += ", its payload not known"
    if state.store and state.store.owes:
        update += ", owes a report"
    application = f", has the {state.application} application" if state.application else ""
    starts = f"starts {slot}{trial} ({images}){application}"
    if state.files:
        return f"{starts}, has the files {state.files[:SHORT]} on the data partition"
    heard = "" if by_hand else f", the server heard {state.told or 'nothing'}"
    return f"{starts}, goes on with {update}{heard}"


def _differs(state: DeviceState) -> str:
    """The copies of the environment, and of what is long the beginning of a digest."""
    copies = f"environment {' and '.join(state.copies)}"
    if state.store is None:
        return copies
    places = "" if all(state.store.whole) else ", one record of two whole" if any(state.store.whole) else ", no record"
    return f"{copies}{places}, record {state.store.rest[:SHORT]}, files {state.remains[:SHORT]}"
