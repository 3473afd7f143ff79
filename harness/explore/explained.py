# SPDX-License-Identifier: Apache-2.0
"""For what is violated: the least that still is, and what that is in plain words."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from harness.explore.chosen import Chosen
from harness.explore.crashid import CrashId
from harness.explore.minimal import minimal, smallest
from harness.explore.plan import violates
from harness.explore.recording import Heard, Recording
from harness.explore.static import Judged, StaticJudge
from harness.explore.words import Words
from harness.storage import CrashPoint


def explain(recording: Recording, violated: Sequence[Judged]) -> list[dict[str, Any]]:
    """What is violated at the moment itself; the static judge says what still is."""
    if not violated:
        return []
    judge, words = StaticJudge(recording), Words(recording)
    found = []
    for one in sorted(violated, key=lambda judged: judged.point.position):
        least = minimal(judge, one.point, one.heard)
        crash_id = str(CrashId.of(recording, one.point, one.heard))
        about = _about(recording, crash_id, one.verdict.sentence, least, one.heard, words)
        found.append({**about, "rules": violates(one)})
    return found


def explain_boot(
    recording: Recording, one: Chosen, says: str, breaks: Callable[[CrashPoint], bool], boots: int
) -> dict[str, Any]:
    """What only a boot showed; `breaks` boots a point, at most so many times, so the least may not be found."""
    left = boots

    def still(point: CrashPoint) -> bool:
        nonlocal left
        left -= 1
        return left >= 0 and breaks(point)

    least = smallest(CrashPoint.parse(one.task.point), still)
    heard = recording.about.heard[one.task.heard]
    about = _about(recording, one.crash_id, says, least, heard, Words(recording))
    return {**about, "rules": [], "boots": boots - max(0, left)}


def _about(
    recording: Recording, crash_id: str, says: str, least: CrashPoint, heard: Heard, words: Words
) -> dict[str, Any]:
    named = str(CrashId.of(recording, least, heard))
    return {"crash_id": crash_id, "says": says, "least": named, "words": words.of(least)}
