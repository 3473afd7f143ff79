# SPDX-License-Identifier: Apache-2.0
"""The files in which an exploration keeps what it knows: JSON, each one whole or not there, and one that grows by
lines.  What is damaged is named in a sentence, and never taken for what it is not."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from harness.errors import UsageError

T = TypeVar("T")


class Notes:
    """Of one folder."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def keep(self, name: str, document: Any) -> None:
        """Write a file, whole or not at all, in case somebody interrupts."""
        self.keep_text(name, json.dumps(document, indent=1) + "\n")

    def keep_text(self, name: str, text: str) -> None:
        """The same for any text."""
        beside = self.folder / f"{name}.new"
        beside.write_text(text)
        beside.replace(self.folder / name)

    def read(self, name: str, otherwise: T) -> T:
        """What a file holds, of the type of `otherwise`, which counts if there is none.

        Raises:
            UsageError: it is damaged.
        """
        path = self.folder / name
        if not path.exists():
            return otherwise
        try:
            found = json.loads(path.read_text())
        except (OSError, ValueError) as error:
            raise self.damaged(name, str(error)) from error
        if not isinstance(found, type(otherwise)):
            raise self.damaged(name, f"it holds no {type(otherwise).__name__}")
        return found

    def add(self, name: str, line: Mapping[str, Any]) -> None:
        """Append a line; one that was cut short is taken away first."""
        path = self.folder / name
        with path.open("ab+") as out:
            whole = path.read_bytes().rfind(b"\n") + 1
            out.truncate(whole)
            out.write(json.dumps(line).encode() + b"\n")

    def lines(self, name: str) -> list[dict[str, Any]]:
        """All whole lines; the last one may have been cut short.

        Raises:
            UsageError: another one is damaged.
        """
        path = self.folder / name
        try:
            *whole, _ = path.read_text().split("\n") if path.exists() else [""]
            found = [json.loads(line) for line in whole]
        except (OSError, ValueError) as error:
            raise self.damaged(name, str(error)) from error
        if not all(isinstance(one, dict) for one in found):
            raise self.damaged(name, "a line holds no object")
        return found

    def damaged(self, name: str, how: str) -> UsageError:
        """That a file is."""
        said = f"{self.folder / name} is damaged: {how}."
        return UsageError(said, "Restore it, or move it away; what it held is then found out anew.")
