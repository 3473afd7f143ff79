# SPDX-License-Identifier: Apache-2.0
"""Roll-out: how many devices may have begun by now, when that changes next, and when too many have failed.

A phase opens at its own start, or as long after the phase before it as that one's delay says, or when the operator
lets it, if it is to wait for that. Devices are not assigned to phases: whoever asks first begins, until all phases
that are open together have no place left.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from server_stub.errors import Malformed

# A plan that ends after the last moment that can be counted could not even be shown.
LONGEST = timedelta(days=36_525)


class State(StrEnum):
    """What holds a deployment as a whole; devices that have begun go on in all of them but ABORTED."""

    RUNNING = "running"
    PAUSED = "paused"
    HALTED = "halted"
    """stopped by itself: too many devices have failed"""
    ABORTED = "aborted"


@dataclass(frozen=True, slots=True)
class Phase:
    """How many devices begin in it (`percent` of all, or `count`, or all that are left), and when it opens."""

    percent: float | None = None
    count: int | None = None
    start: datetime | None = None
    delay: timedelta = timedelta(0)
    waits: bool = False


@dataclass(frozen=True, slots=True)
class FailureLimit:
    """Halt once `count` devices have failed, or `percent` of at least `minimum` that have ended by themselves."""

    percent: float | None = None
    count: int | None = None
    minimum: int = 1

    def is_reached(self, failed: int, succeeded: int) -> bool:
        ended = failed + succeeded
        if self.count is not None and failed >= self.count:
            return True
        return (
            self.percent is not None and failed > 0 and ended >= self.minimum and failed * 100 >= self.percent * ended
        )


@dataclass(frozen=True, slots=True)
class Plan:
    """The phases of a deployment, and what has become of them.

    `size`: the number of devices that percentages are of. `released`: when the operator let each waiting phase go on.
    """

    phases: tuple[Phase, ...]
    created: datetime
    size: int
    released: tuple[datetime, ...] = ()

    def openings(self) -> list[datetime | None]:
        """When each phase opens; None for one that waits for the operator, and for those after it."""
        found: list[datetime | None] = []
        moment: datetime | None = self.created
        pauses = iter(self.released)
        for index, phase in enumerate(self.phases):
            if moment is not None:
                moment = phase.start or (moment + self.phases[index - 1].delay if index else moment)
                if phase.waits:
                    released = next(pauses, None)
                    moment = max(moment, released) if released else None
            found.append(moment)
        return found

    def quota(self, now: datetime) -> float:
        """How many devices may have begun; infinite once all may."""
        percent, count = 0.0, 0
        for phase, opening in zip(self.phases, self.openings(), strict=True):
            if opening is None or opening > now:
                return math.ceil(percent * self.size / 100 - 1e-9) + count
            if phase.percent is None and phase.count is None:
                return math.inf
            percent += phase.percent or 0
            count += phase.count or 0
        return math.inf

    def current(self, now: datetime) -> int | None:
        """The index of the latest phase that is open; None before the first."""
        opened = [index for index, opening in enumerate(self.openings()) if opening is not None and opening <= now]
        return max(opened, default=None)

    def next_opening(self, now: datetime) -> datetime | None:
        return min((one for one in self.openings() if one is not None and one > now), default=None)

    @property
    def waiting(self) -> bool:
        """Whether a phase is left that only the operator can open."""
        return sum(phase.waits for phase in self.phases) > len(self.released)


def check_phases(phases: Sequence[Phase]) -> tuple[Phase, ...]:
    """Refuse what cannot be meant; without any phase, one for all. Raises Malformed."""
    if not phases:
        return (Phase(),)
    if any(one.percent is None and one.count is None for one in phases[:-1]):
        raise Malformed('Every phase but the last needs a "batch_size" or a "device_count".')
    if any(one.percent is not None and one.count is not None for one in phases):
        raise Malformed('A phase has either a "batch_size" or a "device_count".')
    if sum(one.percent or 0 for one in phases) > 100:
        raise Malformed("The phases' batch sizes are more than 100 percent.")
    starts = [one.start for one in phases if one.start is not None]
    if starts != sorted(starts):
        raise Malformed("A phase starts before the one that comes before it.")
    if sum((one.delay for one in phases), timedelta()) > LONGEST:
        raise Malformed("The phases' delays are more than a hundred years.")
    last = phases[-1]
    if sum(one.percent or 0 for one in phases) == 100 and last.percent is not None:
        # Rounding must not leave anybody behind.
        return (*phases[:-1], Phase(None, None, last.start, last.delay, last.waits))
    return tuple(phases) if last.percent is None and last.count is None else (*phases, Phase())
