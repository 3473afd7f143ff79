# SPDX-License-Identifier: Apache-2.0
"""What the client hands to a module: a directory with the payload, its headers, and room for the module's own notes."""

from __future__ import annotations

import json
import os
from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from updater.modules.problems import ModuleError

TEXT_LIMIT = 64 * 1024


@dataclass(frozen=True)
class Workdir:
    """Paths in the working directory, and what is written there.

    Raises (from every reading method):
        ModuleError: what the artifact should have brought is missing or is not what it should be.
    """

    root: Path

    @property
    def files(self) -> Path:
        return self.root / "files"

    @property
    def tmp(self) -> Path:
        """Survives reboots until the client takes the whole directory away."""
        return self.root / "tmp"

    def payload(self, *, without: Collection[str] = ()) -> list[Path]:
        """The files of the artifact, by name; dot files too."""
        try:
            found = sorted(self.files.iterdir(), key=lambda path: os.fsencode(path.name))
        except FileNotFoundError:
            return []
        return [path for path in found if path.name not in without]

    def text(self, name: str) -> str:
        """A payload file that holds one word; line ends at its end do not belong to it."""
        try:
            raw = (self.files / name).read_bytes()
        except FileNotFoundError:
            raise ModuleError(f"The artifact has no file '{name}'.") from None
        if len(raw) > TEXT_LIMIT or b"\0" in raw:
            raise ModuleError(f"The artifact's file '{name}' is not a text.")
        said = os.fsdecode(raw).rstrip("\r\n")
        if not said:
            raise ModuleError(f"The artifact's file '{name}' is empty.")
        return said

    def meta_data(self) -> Any:
        """The JSON of the payload's meta-data; an empty object if there is none."""
        try:
            raw = (self.root / "header" / "meta-data").read_bytes()
        except FileNotFoundError:
            return {}
        try:
            return json.loads(raw) if raw.strip() else {}
        except ValueError as error:
            raise ModuleError(f"The artifact's meta-data is not JSON: {error}.") from error

    def destination(self) -> Path:
        """The directory named by the payload file `dest_dir`, with its links followed.

        Links are followed because on a device whose system is read-only a directory that changes is often a link to
        the data partition, and has to stay one.
        """
        said = self.text("dest_dir")
        if not said.startswith("/"):
            raise ModuleError(f"dest_dir is '{said}', which is not an absolute path.")
        if ".." in said.split("/"):
            raise ModuleError(f"dest_dir is '{said}', which leads upwards with '..'.")
        return Path(os.path.realpath(said))
