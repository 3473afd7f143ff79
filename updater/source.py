# SPDX-License-Identifier: Apache-2.0
"""Where an artifact comes from: an address, a file, or standard input.  All are read once, forwards."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from updater.errors import UpdaterError


class Stream(Protocol):
    """Bytes to the end: at most `size` at a time, b"" at the end."""

    def read(self, size: int, /) -> bytes: ...
    def close(self) -> None: ...


@dataclass(frozen=True)
class Source:
    """What `open` gives is read as it comes; `name` is what the artifact must be called, if that was announced."""

    open: Callable[[], Stream]
    name: str = ""


def from_file(path: Path) -> Source:
    """A file, or standard input for `-`.

    Raises (when opened):
        UpdaterError: it cannot be read.
    """

    def opened() -> Stream:
        if str(path) == "-":
            return sys.stdin.buffer
        try:
            return path.open("rb")
        except OSError as error:
            raise UpdaterError(f"{path} cannot be read: {error.strerror}.") from error

    return Source(opened)
