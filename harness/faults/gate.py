# SPDX-License-Identifier: Apache-2.0
"""A moment that has come or has not, as several threads may ask: whoever asks first finds it out for all."""

from __future__ import annotations

import threading

from harness.faults.power import Moment, Watch
from harness.storage import WriteLog
from images.layout import Layout


class Gate:
    """Watches a log for a moment, beginning with the operation at `start`.

    What stands in the log when it is asked has been looked at when it answers.  While threads may ask, nobody else
    may read the log.
    """

    def __init__(self, moment: Moment, log: WriteLog, layout: Layout, start: int = 0) -> None:
        self.position: int | None = None  # just after the operation that was the moment
        self._watch = Watch(moment, log, layout)
        self._log, self._looked = log, start
        self._lock = threading.Lock()

    def __call__(self) -> bool:
        """Whether the moment has come."""
        with self._lock:
            if self.position is None:
                self._log.poll()
            while self.position is None and self._looked < len(self._log.operations):
                operation = self._log.operations[self._looked]
                self._looked += 1
                if self._watch(operation):
                    self.position = self._looked
            return self.position is not None
