# SPDX-License-Identifier: Apache-2.0
"""The data partition: whether its file system and the files that were put there before are whole, and what it holds.

Owns these questions only.  Works on a scratch copy, because replaying a journal writes; the medium stays as it was.
"""

from __future__ import annotations

import contextlib
import hashlib
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.judge.medium import Medium
from images import ext4
from images.layout import Layout
from images.nodes import Node, Nodes, read_nodes

PARTITION = "data"
MEMORY = Path("/dev/shm")  # e2fsck flushes what it writes; where there is no disk that costs nothing
LARGE = 1024 * 1024  # bytes


def complaints(medium: Medium, layout: Layout, expected: Mapping[str, bytes]) -> list[str]:
    """What is wrong with the data partition once its journal has been replayed; empty when all is well.

    `expected` are the files (path within the partition -> content) that must be there, byte for byte.
    """
    return examine(medium, layout, expected).complaints


@dataclass(frozen=True)
class Examined:
    """What is wrong with the data partition (as `complaints` says), and what was asked for: files and whole trees."""

    complaints: list[str]
    files: Mapping[str, bytes | None]  # None: there is no such file
    nodes: Nodes

    @property
    def digest(self) -> str:
        """A SHA-256 over the nodes, in hexadecimal; of large files only the size counts, which costs less."""
        total = hashlib.sha256()
        for path, node in sorted(self.nodes.items()):
            head = f"{path}\0{node.mode}\0{len(node.content)}\0"
            total.update(head.encode("utf-8", "surrogateescape"))
            total.update(node.content if len(node.content) <= LARGE else b"")
        return total.hexdigest()

    def there(self, *tops: str, beside: str = "") -> str:
        """The same over which nodes there are at and below these paths, but for one; not over what they hold."""
        total = hashlib.sha256()
        for path, node in sorted(self.nodes.items()):
            if any(_is_below(path, top) for top in tops) and not (beside and _is_below(path, beside)):
                total.update(f"{path}\0{node.mode}\0".encode("utf-8", "surrogateescape"))
        return total.hexdigest()


def examine(
    medium: Medium, layout: Layout, expected: Mapping[str, bytes], *wanted: str, tops: Sequence[str] = ()
) -> Examined:
    """The same, and the content of the files `wanted`, by path, and all that is at and below `tops`."""
    with _copy(medium, layout) as image:
        said = (line.replace(str(image), PARTITION) for line in ext4.complaints(image))
        found = [f"The file system on the data partition is damaged: {line}" for line in said]
        files = ext4.read_all(image, [*expected, *wanted])
        trees = {path: node for top in tops for path, node in read_nodes(image, top).items()}
    for path, content in expected.items():
        found += _missing(path, content, files[path])
    return Examined(found, {path: files[path] for path in wanted}, trees)


def _is_below(path: str, top: str) -> bool:
    return path == top or path.startswith(f"{top}/")


def nodes(medium: Medium, layout: Layout, *tops: str) -> dict[str, Node]:
    """All that is at and below these paths of the data partition, as whoever mounts it would find it."""
    with _copy(medium, layout) as image:
        ext4.replay(image)
        return {path: node for top in tops for path, node in read_nodes(image, top).items()}


@contextlib.contextmanager
def _copy(medium: Medium, layout: Layout) -> Iterator[Path]:
    place = layout.partition(PARTITION)
    with tempfile.TemporaryDirectory(dir=MEMORY if MEMORY.is_dir() else None) as scratch:
        image = Path(scratch, "data.img")
        medium.write_to(image, place.start, place.size)
        yield image


def _missing(path: str, expected: bytes, content: bytes | None) -> list[str]:
    if content is None:
        return [f"The file {path} is gone from the data partition."]
    if content == expected:
        return []
    if len(content) != len(expected):
        return [f"The file {path} on the data partition has {len(content)} bytes instead of {len(expected)}."]
    at = next(place for place, (is_, was) in enumerate(zip(content, expected, strict=True)) if is_ != was)
    return [f"The file {path} on the data partition has changed, first at byte {at}."]
