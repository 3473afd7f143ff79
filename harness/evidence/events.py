# SPDX-License-Identifier: Apache-2.0
"""What happens in a run, said once: everybody who wants to know listens here.

An event is a kind, the seconds since the run began, and fields that JSON can hold.
"""

from __future__ import annotations

import contextlib
import json
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import allure

FORMAT = 1


@dataclass(frozen=True)
class Event:
    """One thing that happened."""

    kind: str
    at: float
    fields: dict[str, Any] = field(default_factory=dict)


Listener = Callable[[Event], None]


class Events:
    """Tells every listener of every event, in order, and keeps them as JSON lines; the first line names the format."""

    def __init__(self, path: Path, listeners: tuple[Listener, ...] = ()) -> None:
        self._listeners = listeners
        self._began = time.monotonic()
        self._file = path.open("w", buffering=1)
        self._file.write(json.dumps({"format": "bootproof-events", "version": FORMAT}) + "\n")

    def emit(self, kind: str, **fields: Any) -> None:
        """Something has happened."""
        event = Event(kind, round(time.monotonic() - self._began, 3), fields)
        self._file.write(json.dumps({"kind": event.kind, "at": event.at, **fields}, default=str) + "\n")
        for listener in self._listeners:
            listener(event)

    @contextlib.contextmanager
    def step(self, says: str, **fields: Any) -> Iterator[None]:
        """Something takes its time; a begin and an end event, and a step in the Allure report."""
        self.emit("begin", says=says, **fields)
        try:
            with allure.step(says):
                yield
        except BaseException as error:
            self.emit("end", says=says, failed=f"{type(error).__name__}: {error}")
            raise
        self.emit("end", says=says)

    def close(self) -> None:
        self._file.close()
