# SPDX-License-Identifier: Apache-2.0
"""How commands speak: data on standard output (as JSON on request), progress and complaints on standard error."""

from __future__ import annotations

import io
import json
import os
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from images.stage import Workshop

WIDTH_WHEN_NOT_A_TERMINAL = 150


def make_usable() -> None:
    """Standard output may be closed, or of an encoding that lacks a character: neither is worth an error."""
    if sys.stdout is None:
        sys.stdout = Path(os.devnull).open("w")  # noqa: SIM115 (for as long as the program runs)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="replace")


def print_json(document: Any) -> None:
    """One document, for programs."""
    print(json.dumps(document, indent=1, default=str))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Rows for people; a cell may carry rich's markup."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_edge=False, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*row)
    Console(width=None if sys.stdout.isatty() else WIDTH_WHEN_NOT_A_TERMINAL, highlight=False).print(table)


def complain(text: str) -> None:
    """A sentence on standard error."""
    print(text, file=sys.stderr)


def close_matches(wrong: str, known: Iterable[str]) -> str:
    """The sentence after 'there is no ...': what may have been meant, or all there is."""
    import difflib

    names = sorted(known)
    near = difflib.get_close_matches(wrong, names, n=3, cutoff=0.5)
    if near:
        return f"Did you mean {' or '.join(repr(name) for name in near)}?"
    return f"There are {', '.join(names)}." if names else "There are none."


def size_in_words(number: int) -> str:
    """Bytes as people read them."""
    amount = float(number)
    for unit in ("B", "KiB", "MiB"):
        if amount < 1024:
            return f"{amount:.0f} {unit}"
        amount /= 1024
    return f"{amount:.1f} GiB"


def workshop() -> Workshop:
    """The workshop of this user, which tells what it builds."""
    from harness.narrator import Narrator
    from images.stage import Workshop

    return Workshop(say=Narrator().say)
