# SPDX-License-Identifier: Apache-2.0
"""Where an artifact comes from: an address, a file, or standard input.  All are read once, forwards."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from updater.errors import UpdaterError


class Stream(Protocol):
    """Bytes to the end: at most `size` at a time, b"" at the end."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


class Open(Protocol):
    """Gives the artifact from byte `place` on; its size in bytes must be known for that, unless `place` is 0."""

    def __call__(self, place: int = 0, size: int | None = None, /) -> Stream: ...


@dataclass(frozen=True)
class Source:
    """What `open` gives is read as it comes; `name` is what the artifact must be called, if that was announced."""

    open: Open
    name: str = ""


def from_file(path: Path) -> Source:
    """A file, or standard input for `-`.

    Raises (when opened):
        UpdaterError: it cannot be read.
    """

    def opened(_place: int = 0, _size: int | None = None, /) -> Stream:
        if str(path) == "-":
            if sys.stdin is None:
                raise UpdaterError("Standard input is closed, so no artifact can come from it.")
            return sys.stdin.buffer
        try:
            return path.open("rb")
        except OSError as error:
            raise UpdaterError(f"{path} cannot be read: {error.strerror}.") from error

    return Source(opened)
