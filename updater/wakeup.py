# SPDX-License-Identifier: Apache-2.0
"""Waiting that a signal can cut short: SIGUSR1 asks for a check for updates at once, SIGUSR2 for the inventory."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from types import FrameType

from updater.ports import Clock, SystemClock

CHECK_UPDATE, SEND_INVENTORY = signal.SIGUSR1, signal.SIGUSR2


class Wakeup:
    """Takes the signals of this process; what was asked for while nobody waited is answered at the next wait.

    SIGTERM ends the process at once, wherever it is: every step bears that, as it bears a power cut.
    """

    def __init__(self, clock: Clock) -> None:
        self._scale = clock.scale if isinstance(clock, SystemClock) else 1.0
        self._asked: set[signal.Signals] = set()
        self._read, self._write = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        for number in (CHECK_UPDATE, SEND_INVENTORY):
            signal.signal(number, self._heard)
        signal.signal(signal.SIGTERM, _end)

    def wait(self, seconds: float) -> set[signal.Signals]:
        """Wait so long, or until something is asked for; returns what was."""
        select.select([self._read], [], [], 0.0 if self._asked else max(0.0, seconds) * self._scale)
        with contextlib.suppress(BlockingIOError):  # it is empty
            while os.read(self._read, 4096):
                pass
        asked, self._asked = self._asked, set()
        return asked

    def _heard(self, number: int, _frame: FrameType | None) -> None:
        self._asked.add(signal.Signals(number))
        with contextlib.suppress(BlockingIOError):  # it is full of the same
            os.write(self._write, b"!")


def _end(_number: int, _frame: FrameType | None) -> None:
    os._exit(0)  # an exception could come up where it is swallowed, as in a finalizer
