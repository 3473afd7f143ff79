# SPDX-License-Identifier: Apache-2.0
"""Tells a person what is going on: one line for each thing, with the time since the beginning."""

from __future__ import annotations

import sys
import time

from rich.console import Console
from rich.markup import escape

from harness.evidence.events import Event

QUIET = ("end", "up")
STYLE = {"held": "bold green", "violated": "bold red", "inconclusive": "bold yellow"}


class Narrator:
    """Prints to standard error; says nothing unless `aloud`."""

    began = time.monotonic()

    def __init__(self, aloud: bool = True) -> None:
        self._console = Console(file=sys.__stderr__, highlight=False) if aloud else None

    def say(self, text: str, style: str = "") -> None:
        """One line."""
        if self._console is not None:
            stamp = f"{time.monotonic() - Narrator.began:6.1f} s  "
            self._console.print(f"[dim]{stamp}[/]{escape(text)}", style=style or None, soft_wrap=True)

    def hear(self, event: Event) -> None:
        """An event of the run."""
        text = sentence(event)
        if text:
            self.say(text, STYLE.get(str(event.fields.get("outcome")), ""))


def sentence(event: Event) -> str:
    """An event in words; empty for those that are not worth a line."""
    fields = event.fields
    if event.kind == "power-on":
        return f"Power on (number {fields['number']})"
    if event.kind == "cut":
        torn = f", one torn after {fields['torn']} bytes" if fields["torn"] is not None else ""
        return f"  {fields['unflushed']} writes were not flushed, {fields['lost']} of them are lost{torn}"
    if event.kind == "verdict":
        return f"  Verdict {fields['when']}: {fields['says']}"
    if event.kind in QUIET and "failed" not in fields:
        return ""
    return str(fields.get("failed") or fields.get("says") or event.kind)
