# SPDX-License-Identifier: Apache-2.0
"""Waiting in the harness: one deadline, one way to poll, one place that sleeps."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


class Deadline:
    """A moment `seconds` from now."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._end = time.monotonic() + seconds

    @property
    def remaining(self) -> float:
        """Seconds left, never negative."""
        return max(0.0, self._end - time.monotonic())

    @property
    def expired(self) -> bool:
        return self.remaining == 0.0


def poll(look: Callable[[], T | None], deadline: Deadline, *, every: float = 0.1) -> T | None:
    """Call `look` until it gives something other than None or False; None once the deadline has passed."""
    while True:
        seen = look()
        if seen is not None and seen is not False:
            return seen
        if deadline.expired:
            return None
        time.sleep(min(every, deadline.remaining))


def pause(seconds: float) -> None:
    """Let real time pass: for an off-time, never to wait for something that can be watched."""
    time.sleep(seconds)
