# SPDX-License-Identifier: Apache-2.0
"""Files, directories and links as values: what shall be on a file system, and what is."""

from __future__ import annotations

import os
import stat
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from images.run import run


@dataclass(frozen=True)
class Node:
    """A file, directory or symbolic link: its mode with the bits of its kind, and its bytes or its target."""

    mode: int
    content: bytes = b""

    @classmethod
    def directory(cls, mode: int = 0o755) -> Node:
        return cls(stat.S_IFDIR | mode)

    @classmethod
    def file(cls, content: bytes, mode: int = 0o644) -> Node:
        return cls(stat.S_IFREG | mode, content)

    @classmethod
    def link(cls, target: str) -> Node:
        return cls(stat.S_IFLNK | 0o777, os.fsencode(target))

    @property
    def is_directory(self) -> bool:
        return stat.S_ISDIR(self.mode)

    @property
    def is_link(self) -> bool:
        return stat.S_ISLNK(self.mode)


Nodes = Mapping[str, Node]
"""By their paths in a file system, which begin without a slash."""


def read_nodes(image: Path, top: str) -> dict[str, Node]:
    """Everything at and below the path `top` of the ext4 file system in `image`; empty if there is no such path.

    Owners and times are not looked at, and neither is what is no file, directory or link.
    """
    with tempfile.TemporaryDirectory() as scratch:
        run(["debugfs", "-R", f"rdump /{top} {scratch}", image])
        copy = Path(scratch, Path(top).name)
        found = [copy, *copy.rglob("*")] if os.path.lexists(copy) else []
        return {str(Path(top, path.relative_to(copy))): _node(path) for path in sorted(found)}


def _node(path: Path) -> Node:
    mode = path.lstat().st_mode
    if stat.S_ISLNK(mode):
        return Node.link(str(path.readlink()))
    return Node(mode, path.read_bytes() if stat.S_ISREG(mode) else b"")
