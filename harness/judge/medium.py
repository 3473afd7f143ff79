# SPDX-License-Identifier: Apache-2.0
"""What the judge needs of a medium, whoever holds its bytes.

Owns the protocol only.  Addresses are bytes within the board's one image (see `images.layout`); windows, logs and
files behind it are no business of the judge.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol


class Medium(Protocol):
    """The bytes of a board's image at one moment; reading changes nothing."""

    def read(self, address: int, length: int) -> bytes:
        """The `length` bytes at `address`."""
        ...

    def digest(self, start: int, length: int) -> str:
        """The SHA-256 of the `length` bytes at `start`, in lower-case hexadecimal."""
        ...

    def write_to(self, path: Path, start: int, length: int) -> None:
        """Write the `length` bytes at `start` into a new file."""
        ...
