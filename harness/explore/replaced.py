# SPDX-License-Identifier: Apache-2.0
"""An application that an update replaces: what it is before and after, and what is claimed of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

from harness.judge.application import torn
from images.applications import Application
from images.nodes import Nodes

Holds = Literal["old", "new", "torn"]


@dataclass(frozen=True)
class Replaced:
    """An update of one kind of application between two versions."""

    kind: str
    before: str
    after: str

    @property
    def old(self) -> Application:
        return Application(self.kind, self.before)

    @property
    def new(self) -> Application:
        return Application(self.kind, self.after)

    @property
    def rolls_back(self) -> bool:
        """Whether it is the old or the new one at every moment; a module without a way back cannot promise it."""
        return self.old.rolls_back

    def holds(self, found: Nodes) -> Holds:
        """Which of them is in its place on the data partition."""
        place, old, new = self.old.place, self.old.nodes(), self.new.nodes()
        if torn(found, place, old, old) is None:
            return "old"
        return "new" if torn(found, place, new, new) is None else "torn"
