# SPDX-License-Identifier: Apache-2.0
"""The directory that an update module works in (Mender's update module protocol, version 3).

It is made before the download, flushed as a whole, survives reboots, and is removed after Cleanup.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from updater.errors import UpdaterError
from updater.recordfile import flush_directory
from updater.store import Device

if TYPE_CHECKING:
    from updater.artifact import Artifact

PLACE = Path("modules/v3/payloads/0000/tree")  # below the data directory
VERSION = "3\n"


@dataclass(frozen=True)
class Tree:
    """The tree at `path`.

    Raises (from every method):
        UpdaterError: the data partition cannot be written.
    """

    path: Path

    @property
    def owner(self) -> Path:
        """The data directory that it lies in."""
        return self.path.parents[len(PLACE.parts) - 1]

    def make(self, artifact: Artifact, device: Device, device_type: str) -> None:
        """A fresh tree with what a module may know of the device and the artifact, all of it durable."""
        try:
            shutil.rmtree(self.path, ignore_errors=True)
            for name in ("header", "tmp"):
                (self.path / name).mkdir(parents=True)
            for name, content in _contents(artifact, device, device_type):
                (self.path / name).write_bytes(content)
            self.flush()
        except OSError as error:
            raise UpdaterError(f"The update module's directory cannot be made: {error.strerror}.") from error

    def flush(self) -> None:
        """Make all files and names in the tree, and the way to it, durable."""
        for place, _, files in os.walk(self.path):
            for name in files:
                _flush_file(Path(place, name))
            flush_directory(Path(place))
        for directory in (self.path, *self.path.parents)[1:5]:
            flush_directory(directory)

    def remove(self) -> None:
        """It is gone for good before the end of the update is told."""
        shutil.rmtree(self.path, ignore_errors=True)
        with suppress(OSError):
            flush_directory(self.path.parent)


def _contents(artifact: Artifact, device: Device, device_type: str) -> Iterator[tuple[str, bytes]]:
    yield "version", VERSION.encode()
    yield "current_artifact_name", f"{device.artifact_name}\n".encode()
    yield "current_artifact_group", f"{device.provides.get('artifact_group', '')}\n".encode()
    yield "current_device_type", f"{device_type}\n".encode()
    yield "header/artifact_name", f"{artifact.name}\n".encode()
    yield "header/artifact_group", f"{artifact.group or ''}\n".encode()
    yield "header/payload_type", f"{artifact.payload_type}\n".encode()
    yield "header/header-info", artifact.header_info
    yield "header/type-info", artifact.type_info
    yield "header/meta-data", artifact.meta_data


def _flush_file(path: Path) -> None:
    if path.is_symlink() or not path.is_file():
        return
    fd = os.open(path, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
