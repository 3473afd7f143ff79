# SPDX-License-Identifier: Apache-2.0
"""What an exploration was asked for, kept in its folder, so that one that was interrupted goes on as it was begun."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any, Final

from harness.errors import UsageError
from harness.explore.notes import Notes

OPTIONS: Final = "options.json"
DEFAULTS: Final = {"boots": 60, "again": 0, "least": 8, "all_writes": False}
RECORDED: Final = ("story", "seed", "mutant", "all_writes", "image")  # decided for good when it was begun


def keep(options: argparse.Namespace, folder: Path) -> None:
    """Note in the run folder what was asked for: the most of it, if it was gone on with for less."""
    notes = Notes(folder)
    before = _kept(notes)
    asked = {name: getattr(options, name) for name in DEFAULTS}
    notes.keep(OPTIONS, {name: max(value, before.get(name, value)) for name, value in asked.items()})


def complete(options: argparse.Namespace) -> None:
    """Fill in what was not said: as it was when the exploration was begun, else by default.

    Raises:
        UsageError: something is asked for that only a new exploration can have, or what is kept is damaged.
    """
    before: dict[str, Any] = {}
    if options.resume is not None:
        for name in RECORDED:
            if getattr(options, name) is not None:
                said = f"--resume goes on with what was begun, so {_shown(name, options)} cannot be chosen any more."
                raise UsageError(said, "Leave it out, or begin anew without --resume.")
        before = _kept(Notes(options.resume))
    for name, usual in DEFAULTS.items():
        if getattr(options, name) is None:
            setattr(options, name, before.get(name, usual))


def _kept(notes: Notes) -> dict[str, Any]:
    nothing: dict[str, Any] = {}
    found = notes.read(OPTIONS, nothing)
    try:
        return {name: type(usual)(found[name]) for name, usual in DEFAULTS.items() if name in found}
    except (ValueError, TypeError) as error:
        raise notes.damaged(OPTIONS, str(error)) from error


def _shown(name: str, options: argparse.Namespace) -> str:
    """What was typed."""
    return f"'{options.story}'" if name == "story" else f"--{name.replace('_', '-')}"
