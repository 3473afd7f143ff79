# SPDX-License-Identifier: Apache-2.0
"""When the power fails: a moment named by the writes themselves, never by a clock."""

from __future__ import annotations

from dataclasses import dataclass, replace

from harness.storage import Kind, Operation, WriteLog, decode
from images.layout import Layout, Window


@dataclass(frozen=True)
class Moment:
    """The `count`-th write to the area `to` after the marks `after`, in this order (0: at the last of them itself).

    Areas are the windows and partitions of the layout, and `passive`: the slot that does not run.  Or, if `shows` is
    set, when the console shows that pattern (`after` is then not looked at).  With nothing set it is now.
    """

    after: tuple[str, ...] = ()
    to: str | None = None
    count: int = 0
    shows: str | None = None

    def __str__(self) -> str:
        if self.shows:
            return f"when the console shows '{self.shows}'"
        steps = [f"after the step '{name}'" for name in reversed(self.after)]
        if self.count == 0:
            if not steps:
                return "now"
            return " ".join([f"at the step '{self.after[-1]}'", *steps[1:]])
        return " ".join([f"after write {self.count} to {self.to}", *steps])

    @property
    def in_log(self) -> bool:
        """Whether an operation of the log is the moment, so that all that comes after it can be told."""
        return bool(self.after or self.to)

    def within(self, passive: str) -> Moment:
        """With `passive` replaced by the partition it is."""
        return replace(self, to=passive) if self.to == "passive" else self


def mark(*names: str) -> Moment:
    """When the updater writes this mark; of several, when it writes the last after the others, in this order."""
    return Moment(after=names)


def writes(count: int, *, to: str, after: str | None = None) -> Moment:
    """When `count` writes have gone to an area, counted from a mark or from power-on."""
    return Moment(after=(after,) if after else (), to=to, count=count)


def console(pattern: str) -> Moment:
    """When the console is seen to show a pattern; the log is taken as far as it is then.

    This is as exact as this machine is quick: for a moment between two writes of the board take a mark.
    """
    return Moment(shows=pattern)


def now() -> Moment:
    """At once."""
    return Moment()


class Watch:
    """Looks at the operations of a log, one after the other, for a moment."""

    def __init__(self, moment: Moment, log: WriteLog, layout: Layout) -> None:
        self._log = log
        self._marks = layout.marks
        self._area = area(layout, moment.to) if moment.to else None
        self._left = moment.count
        self._awaited = list(moment.after)

    def __call__(self, operation: Operation) -> bool:
        """Whether this operation is the one."""
        if operation.kind is not Kind.WRITE:
            return False
        if self._awaited:
            if self._mark(operation) == self._awaited[0]:
                self._awaited.pop(0)
            return not self._awaited and self._left == 0
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
