# SPDX-License-Identifier: Apache-2.0
"""Compiled Python for the board: importing sources there would cost seconds at every start."""

from __future__ import annotations

import functools
import sys
import tempfile
from pathlib import Path

from images.errors import ImageError
from images.run import run

GUEST_VERSION = "3.11"
CACHE_TAG = "cpython-311"
# The compiled files depend on the sources alone: no time stamps, no hash order.
SETTINGS = {"PYTHONHASHSEED": "0", "PYTHONDONTWRITEBYTECODE": "1"}


@functools.cache
def interpreter() -> str:
    """A Python of the board's version on this machine.

    Raises:
        ImageError: there is none.
    """
    for candidate in (sys.executable, "/usr/bin/python3", f"python{GUEST_VERSION}"):
        try:
            said = run([candidate, "-c", "import sys; print('%d.%d' % sys.version_info[:2])"])
        except ImageError:
            continue
        if said.strip() == GUEST_VERSION:
            return candidate
    raise ImageError(
        f"No Python {GUEST_VERSION} is on this machine, and the board's programs must be compiled with it.",
        f"Install python{GUEST_VERSION}.",
    )


def compile_tree(tree: Path, *, seen_as: str, keep_sources: bool) -> None:
    """Compile every module below `tree`; `seen_as` is the path it will have on the board.

    Without its sources a tree is half as large, and a trace back from it names lines but does not show them.
    """
    command = [interpreter(), "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    run([*command, *([] if keep_sources else ["-b"]), "-s", tree, "-p", seen_as, tree], env=SETTINGS)
    if not keep_sources:
        for source in tree.rglob("*.py"):
            source.unlink()


def compile_source(source: str, *, seen_as: str) -> bytes:
    """The compiled form of one module's source text."""
    with tempfile.TemporaryDirectory() as scratch:
        module = Path(scratch, Path(seen_as).name)
        module.write_text(source)
        compile_tree(module.parent, seen_as=str(Path(seen_as).parent), keep_sources=True)
        return (module.parent / "__pycache__" / f"{module.stem}.{CACHE_TAG}.pyc").read_bytes()
