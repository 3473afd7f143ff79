# SPDX-License-Identifier: Apache-2.0
"""A moment that has come or has not, as several threads may ask: whoever asks first finds it out for all."""

from __future__ import annotations

import threading
from collections.abc import Callable

from harness.storage import Operation, WriteLog


class Gate:
    """Looks for a moment in a log, beginning with the operation at `start`; `watch` says which operation it is.

    What stands in the log when it is asked has been looked at when it answers.  While threads may ask, nobody else
    may read the log.
    """

    def __init__(self, watch: Callable[[Operation], bool], log: WriteLog, start: int = 0) -> None:
        self.position: int | None = None  # just after the operation that was the moment
        self._watch = watch
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
