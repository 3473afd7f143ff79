# SPDX-License-Identifier: Apache-2.0
"""The table at the end of a run: what was done to the board, and what became of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from rich.markup import escape
from rich.table import Table

SHORT = 8


@dataclass(frozen=True)
class Row:
    """One cut, or one update without one, and its end."""

    did: str
    booted: str  # slot and version that ran in the end
    slots: Mapping[str, tuple[str, str]]  # slot -> (version, SHA-256)
    told: str  # what the server was told last
    outcome: str


def table(rows: Sequence[Row]) -> Table:
    """The rows for a terminal."""
    made = Table(show_edge=False, pad_edge=False, header_style="bold")
    for column in ("cut", "booted", "slot A", "slot B", "server was told", "verdict"):
        made.add_column(column, overflow="fold")
    for row in rows:
        style = {"held": "green", "violated": "red"}.get(row.outcome, "yellow")
        slots = [" ".join((row.slots[slot][0], row.slots[slot][1][:SHORT])) for slot in ("a", "b")]
        plain = [escape(text) for text in (row.did, row.booted, *slots, row.told, row.outcome)]
        made.add_row(*plain[:-1], f"[{style}]{plain[-1]}[/]")
    return made
