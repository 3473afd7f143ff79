# SPDX-License-Identifier: Apache-2.0
"""When the daemon does something next."""

from __future__ import annotations

from collections.abc import Callable, Iterator


class Timer:
    """When something is due next, and how soon it is tried again after it failed; all in seconds of the clock.

    `longest` bounds what a server may ask to wait.
    """

    def __init__(self, interval: float, retries: Callable[[], Iterator[float]], longest: float = float("inf")) -> None:
        self.due = 0.0
        self._interval, self._retries, self._longest = interval, retries, longest
        self._pauses = retries()

    def succeeded(self, now: float) -> None:
        self._pauses = self._retries()
        self.due = now + self._interval

    def failed(self, now: float, asked: float | None = None) -> None:
        """Try again after the next pause, and not before the server wants it; when they are used up, as usual."""
        pause = next(self._pauses, None)
        if pause is None:
            self._pauses = self._retries()
            pause = self._interval
        self.due = now + max(pause, min(asked or 0.0, max(self._interval, self._longest)))
