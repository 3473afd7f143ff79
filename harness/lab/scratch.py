# SPDX-License-Identifier: Apache-2.0
"""A laboratory that leaves nothing behind: for looking and measuring, where no run folder is wanted."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Iterator
from pathlib import Path

from harness.evidence import Events, RunFolder
from harness.evidence.events import Listener
from harness.lab.lab import Lab
from images.catalogue import Catalogue


@contextlib.contextmanager
def scratch_lab(catalogue: Catalogue, name: str, seed: int, *listeners: Listener) -> Iterator[Lab]:
    """A laboratory with a new board, which is still off; its run folder is deleted when the context ends."""
    with tempfile.TemporaryDirectory(prefix=f"bootproof-{name}-") as scratch:
        folder = RunFolder(Path(scratch), name, seed)
        with (
            contextlib.closing(Events(folder / "events.jsonl", listeners)) as events,
            contextlib.closing(Lab(catalogue, folder, events, seed)) as lab,
        ):
            yield lab
