# SPDX-License-Identifier: Apache-2.0
"""Planted faults: updaters and boards that are wrong in one known way, to prove that a verdict can fail.

A mutant replaces a piece of a program's text that must be there exactly once, so that a mutant that no
longer fits its program is an error and not a silent pass.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from images.bytecode import CACHE_TAG, compile_source
from images.errors import ImageError
from images.ext4 import Edit
from images.rootfs import OVERLAY, SITE, UPDATER


@dataclass(frozen=True)
class Change:
    """In the file `path` (of the updater, or of the overlay if it begins with a slash) `old` becomes `new`."""

    path: str
    old: str
    new: str


@dataclass(frozen=True)
class Mutant:
    """One planted fault, and the scenario that must catch it."""

    name: str
    plants: str
    caught_by: str
    changes: tuple[Change, ...] = ()
    redundant_environment: bool = True

    def edits(self) -> Sequence[Edit]:
        """What the fault changes in a root file system.

        Raises:
            ImageError: a change does not fit its file.
        """
        texts: dict[str, str] = {}
        for change in self.changes:
            text = texts.get(change.path) or _original(change.path).read_text()
            if text.count(change.old) != 1:
                raise ImageError(f"Mutant '{self.name}' no longer fits {change.path}.", "Bring it up to date.")
            texts[change.path] = text.replace(change.old, change.new)
        return [edit for path, text in texts.items() for edit in _edits_of(path, text)]


def _original(path: str) -> Path:
    return OVERLAY / path.lstrip("/") if path.startswith("/") else UPDATER / path


def _edits_of(path: str, text: str) -> Sequence[Edit]:
    if path.startswith("/"):
        mode = 0o755 if _original(path).stat().st_mode & 0o100 else 0o644
        return [Edit(path, text.encode(), mode)]
    module = Path("/", SITE, "updater", path)
    compiled = module.parent / "__pycache__" / f"{module.stem}.{CACHE_TAG}.pyc"
    return [Edit(str(module), text.encode()), Edit(str(compiled), compile_source(text, seen_as=str(module)))]


MUTANTS: dict[str, Mutant] = {}


def mutant(name: str) -> Mutant:
    """The mutant of that name.

    Raises:
        ImageError: there is none.
    """
    try:
        return MUTANTS[name]
    except KeyError:
        raise ImageError(f"There is no mutant '{name}'.", f"There are {', '.join(MUTANTS)}.") from None
