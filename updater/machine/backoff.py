# SPDX-License-Identifier: Apache-2.0
"""How long to wait between tries, and when to stop."""

from __future__ import annotations

from collections.abc import Iterator

UNIT = 60.0
REPEATS = 3


def delays(cap: float, count: int = 0) -> Iterator[float]:
    """The pauses in seconds after each failed try, then the end.

    One minute three times, doubled until it reaches `cap`, the cap three times; a cap below a minute is used as it
    is.  `count`, if not zero, is the number of tries in all: there are then pauses at the cap for as long as it lasts.
    """
    tries = 0
    pause = min(UNIT, cap)
    while True:
        for _ in range(REPEATS):
            tries += 1
            if count and tries >= count:
                return
            yield pause
        if pause >= cap and not count:
            return
        pause = min(pause * 2, cap)
