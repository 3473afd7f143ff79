# SPDX-License-Identifier: Apache-2.0
"""Which of the judged points are booted: one of each class, suspicious ones, and a seeded sample of the rest, which
shows how often the static judge is right."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from harness.explore.order import RULE as ORDER
from harness.explore.progress import RULE as PROGRESS
from harness.explore.static import DeviceState, Judged

DOWNLOADING: Final = frozenset({"update-fetch", "update-store"})
# What a start may still mend; all other rules are about what holds at every moment.
MENDABLE: Final = frozenset({"data", "store", ORDER, PROGRESS})
Kind = tuple[DeviceState, tuple[str, ...]]  # with the rules that do not hold


def violates(judged: Judged) -> tuple[str, ...]:
    """The rules that do not hold at the moment itself, whatever a start might mend."""
    return tuple(one.rule for one in judged.verdict.violations if one.rule not in MENDABLE)


def kind_of(judged: Judged) -> Kind:
    """What makes its class.  Some rules ask more than what the device holds: when something may be final, say."""
    return judged.state, tuple(one.rule for one in judged.verdict.violations)


@dataclass
class Class:
    """Points that no device could tell apart, and of which the same holds: how many, and one that stands for all."""

    chosen: Judged
    points: int = 1


@dataclass
class Plan:
    """Made while the points are judged, so that none of them has to be kept; `boots` is how many may be chosen."""

    boots: int
    seed: int = 0
    judged: int = 0
    classes: dict[Kind, Class] = field(default_factory=dict)
    suspicious: list[Judged] = field(default_factory=list)
    _sample: list[Judged] = field(default_factory=list)

    def __post_init__(self) -> None:
        # Of its own, so that it is the same one for each class however many are booted.
        self._for_classes = random.Random(self.seed)
        self._chance = random.Random(self.seed)

    def add(self, judged: Judged) -> None:
        """One more point."""
        self.judged += 1
        if judged.suspicious:
            self.suspicious.append(judged)
        known = self.classes.setdefault(kind_of(judged), Class(judged, 0))
        known.points += 1
        if self._for_classes.random() * known.points < 1:  # each is about as likely as any other
            known.chosen = judged
        if len(self._sample) < self.boots:
            self._sample.append(judged)
        elif (place := self._chance.randrange(self.judged)) < self.boots:
            self._sample[place] = judged

    def representatives(self) -> list[Judged]:
        """One of each class: the suspicious ones first, then those where something is at stake already."""
        return sorted(
            (one.chosen for one in self.classes.values()), key=lambda one: (not one.suspicious, _is_early(one))
        )

    def some_suspicious(self) -> list[Judged]:
        """As many as may be booted at the most, from anywhere in the log."""
        places = self._chance.sample(range(len(self.suspicious)), min(self.boots, len(self.suspicious)))
        return [self.suspicious[place] for place in sorted(places)]

    def sample(self) -> list[Judged]:
        """So many others that `boots` is reached; none if there are as many classes and suspicious points already."""
        taken = {(one.point, one.heard) for one in (*self.representatives(), *self.suspicious)}
        others = [one for one in self._sample if (one.point, one.heard) not in taken]
        return list(dict.fromkeys(others))[: max(0, self.boots - len(taken))]


def _is_early(judged: Judged) -> bool:
    """Whether there is only a download that may be lost."""
    store = judged.state.store
    return store is not None and store.state in DOWNLOADING and not judged.state.boot.trial
