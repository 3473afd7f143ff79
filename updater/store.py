# SPDX-License-Identifier: Apache-2.0
"""What the updater must still know after the power has failed: what is installed, and how far an update has come.

One small JSON file, replaced as a whole: written beside the old one, flushed, renamed, and the directory
flushed, so that at every moment either the old content or the new one is there.  There is one writer.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from updater.errors import UpdaterError

FORMAT = 1
UNKNOWN_ARTIFACT = "unknown"


@dataclass(frozen=True)
class Update:
    """One update under way.  `state` is the name of the step that was begun last (Mender's names)."""

    state: str
    deployment: str
    artifact_name: str = ""
    provides: Mapping[str, str] = field(default_factory=dict)
    origin: str = ""  # slot that runs when the update begins
    target: str = ""  # slot that is written
    outcome: str = ""  # final status, once it is known
    stores: int = 0  # how often this record has been written: bounds reboot loops


@dataclass(frozen=True)
class Device:
    """Everything that is stored: `provides` of what is installed (with `artifact_name`), and the update under way."""

    provides: Mapping[str, str] = field(default_factory=lambda: {"artifact_name": UNKNOWN_ARTIFACT})
    update: Update | None = None

    @property
    def artifact_name(self) -> str:
        return self.provides.get("artifact_name", UNKNOWN_ARTIFACT)


class Store:
    """The file `bootproof-store.json` in the data directory."""

    def __init__(self, directory: Path) -> None:
        self.path = directory / "bootproof-store.json"

    def exists(self) -> bool:
        """Whether anything has ever been stored on this device."""
        return self.path.exists()

    def load(self) -> Device:
        """What is stored; an empty record on a new device.

        Raises:
            UpdaterError: the file is there but is not what this program wrote.
        """
        try:
            raw = json.loads(self.path.read_bytes())
        except FileNotFoundError:
            return Device()
        except ValueError as error:
            raise UpdaterError(f"{self.path} is damaged: {error}.") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT:
            raise UpdaterError(f"{self.path} was written by another version of this program.")
        update = raw.get("update")
        try:
            return Device(provides=dict(raw["provides"]), update=Update(**update) if update else None)
        except (KeyError, TypeError, ValueError) as error:
            raise UpdaterError(f"{self.path} is damaged: {error!r}.") from error

    def save(self, device: Device) -> Device:
        """Make `device` durable; counts the writes of an update's record.  Returns what was stored.

        Raises:
            UpdaterError: it cannot be stored, so the caller must not go on; the old content is still there.
        """
        if device.update:
            device = replace(device, update=replace(device.update, stores=device.update.stores + 1))
        content: dict[str, Any] = {"format": FORMAT, **asdict(device)}
        fresh = self.path.with_suffix(".new")
        try:
            with fresh.open("w") as file:
                json.dump(content, file)
                file.flush()
                os.fsync(file.fileno())
            fresh.replace(self.path)
            flush_directory(self.path.parent)
        except OSError as error:
            raise UpdaterError(f"{self.path} cannot be written: {error.strerror}.") from error
        return device


def flush_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
