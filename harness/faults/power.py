# SPDX-License-Identifier: Apache-2.0
"""When the power fails: a moment named by the writes themselves, never by a clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.storage import Kind, Operation, WriteLog, decode
from images.layout import Layout, Window


@dataclass(frozen=True)
class Moment:
    """The `count`-th write to the area `to` after the mark `after` (0: at the mark itself).

    Areas are the windows and partitions of the layout, and `passive`: the slot that does not run.  Or, if `shows` is
    set, when the console shows that pattern (`after` is then not looked at).
    """

    after: str | None = None
    to: str | None = None
    count: int = 0
    shows: str | None = None

    def __str__(self) -> str:
        if self.shows:
            return f"when the console shows '{self.shows}'"
        since = f" after the step '{self.after}'" if self.after else ""
        if self.count == 0:
            return f"at the step '{self.after}'"
        return f"after write {self.count} to {self.to}{since}"

    def within(self, passive: str) -> Moment:
        """With `passive` replaced by the partition it is."""
        return replace(self, to=passive) if self.to == "passive" else self


def mark(name: str) -> Moment:
    """When the updater writes this mark."""
    return Moment(after=name)


def writes(count: int, *, to: str, after: str | None = None) -> Moment:
    """When `count` writes have gone to an area, counted from a mark or from power-on."""
    return Moment(after=after, to=to, count=count)


def console(pattern: str) -> Moment:
    """When the console shows a pattern; the log is taken as far as it was then."""
    return Moment(shows=pattern)


class Watch:
    """Looks at the operations of a log, one after the other, for a moment."""

    def __init__(self, moment: Moment, log: WriteLog, layout: Layout) -> None:
        self._log, self._moment = log, moment
        self._marks = layout.marks
        self._area = area(layout, moment.to) if moment.to else None
        self._left = moment.count
        self._armed = moment.after is None

    def __call__(self, operation: Operation) -> bool:
        """Whether this operation is the one."""
        if operation.kind is not Kind.WRITE:
            return False
        if not self._armed:
            self._armed = self._mark(operation) == self._moment.after
            return self._armed and self._left == 0
        if self._area is not None and operation.address in self._area:
            self._left -= 1
            return self._left == 0
        return False

    def _mark(self, operation: Operation) -> str | None:
        if operation.address not in self._marks:
            return None
        found = decode(self._log.data(operation))
        return found.name if found else None


def area(layout: Layout, name: str) -> Window:
    """A window or partition by name.

    Raises:
        KeyError: there is none.
    """
    for window in layout.windows:
        if window.name == name:
            return window
    return layout.partition(name)
