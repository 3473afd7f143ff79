# SPDX-License-Identifier: Apache-2.0
"""What a planted fault is, and how it gets into an image.

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
    """One planted fault, and what must catch it.

    Attributes:
        plants: the fault in one sentence.
        caught_by: the scenario (file and test below `scenarios/`) that must; None: none does.
        rule: of the verdict, which that scenario must find violated.
        explored: the update that must show it if `bootproof explore` cuts it everywhere; None: no cut shows it, or an
            update without a cut does, so that there is nothing to explore.
    """

    name: str
    plants: str
    caught_by: str | None = None
    rule: str = ""
    changes: tuple[Change, ...] = ()
    redundant_environment: bool = True
    explored: str | None = "managed"

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
