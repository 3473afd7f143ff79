# SPDX-License-Identifier: Apache-2.0
"""Which of the judged points are booted: one of each class that a device could tell apart, every suspicious one, and a
seeded sample of the rest, which shows how often the static judge is right."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from typing import Final

from harness.explore.static import DeviceState, Judged

DOWNLOADING: Final = frozenset({"update-fetch", "update-store"})


@dataclass
class Class:
    """Points that no device could tell apart: how many there are, and one that stands for all."""

    chosen: Judged
    points: int = 1


@dataclass
class Plan:
    """Made while the points are judged, so that none of them has to be kept; `boots` is how many may be chosen."""

    boots: int
    seed: int = 0
    judged: int = 0
    classes: dict[DeviceState, Class] = field(default_factory=dict)
    suspicious: list[Judged] = field(default_factory=list)
    _sample: list[Judged] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)

    def add(self, judged: Judged) -> None:
        """One more point."""
        self.judged += 1
        if judged.suspicious:
            self.suspicious.append(judged)
        known = self.classes.get(judged.state)
        if known is None:
            self.classes[judged.state] = Class(judged)
        else:
            known.points += 1
            first = judged.suspicious > known.chosen.suspicious
            also = judged.suspicious == known.chosen.suspicious
            # A suspicious one stands for its class; of others, each is about as likely as any other.
            if first or (also and self._chance.random() * known.points < 1):
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

    def sample(self) -> list[Judged]:
        """So many others that `boots` is reached; none if there are as many classes and suspicious points already."""
        taken = {(one.point, one.heard) for one in (*self.representatives(), *self.suspicious)}
        others = [one for one in self._sample if (one.point, one.heard) not in taken]
        return list(dict.fromkeys(others))[: max(0, self.boots - len(taken))]


def _is_early(judged: Judged) -> bool:
    """Whether there is only a download that may be lost."""
    store = judged.state.store
    return store is not None and store.state in DOWNLOADING and not judged.state.boot.trial
