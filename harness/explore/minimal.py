# SPDX-License-Identifier: Apache-2.0
"""The fewest lost writes that still break the same rule: delta debugging (Zeller and Hildebrandt, IEEE TSE 2002, the
algorithm ddmin), with the static judge or a boot as the test."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from harness.explore.plan import violates
from harness.explore.recording import Heard
from harness.explore.static import StaticJudge
from harness.storage import CrashPoint


def minimal(judge: StaticJudge, point: CrashPoint, heard: Heard) -> CrashPoint:
    """The smallest point at the same position that violates a rule that this one does, of those that no start can mend;
    the judge is taken to that position.

    Args:
        judge: one that has not come beyond the position.
        point: one that is violated.
        heard: what the server had heard.
    """
    judge.go_to(point.position)
    broken = set(violates(judge.judge(point, heard)))

    def breaks(candidate: CrashPoint) -> bool:
        return not broken.isdisjoint(violates(judge.judge(candidate, heard)))

    return smallest(point, breaks)


def smallest(point: CrashPoint, breaks: Callable[[CrashPoint], bool]) -> CrashPoint:
    """The smallest point at the same position that breaks as this one does; each question may be a dear one."""
    for simpler in (CrashPoint(point.position), CrashPoint(point.position, point.lost)):
        if simpler != point and breaks(simpler):
            point = simpler
            break
    if not point.lost:
        return point
    lost = ddmin(sorted(point.lost), lambda kept: breaks(replace(point, lost=frozenset(kept))))
    return replace(point, lost=frozenset(lost))


def ddmin(whole: Sequence[int], breaks: Callable[[Sequence[int]], bool]) -> list[int]:
    """A part of `whole`, which breaks, that breaks too and no longer does if any one is left out; empty if nothing
    at all breaks as well."""
    if breaks([]):
        return []
    kept, parts = list(whole), 2
    while len(kept) > 1:
        size = -(-len(kept) // parts)
        pieces = [kept[at : at + size] for at in range(0, len(kept), size)]
        rests = [[one for one in kept if one not in piece] for piece in pieces]
        smaller = next((one for one in (*pieces, *rests) if len(one) < len(kept) and breaks(one)), None)
        if smaller is not None:
            parts = max(2, parts - 1 if smaller in rests else 2)
            kept = smaller
        elif parts >= len(kept):
            break
        else:
            parts = min(2 * parts, len(kept))
    return kept
