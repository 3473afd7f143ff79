# SPDX-License-Identifier: Apache-2.0
"""What a slot holds: a known image, byte for byte, or nothing that is known.

Owns the comparison by size and digest.  Refuses to look inside: a file system that is merely clean proves nothing.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.judge.bootenv import Slot
from harness.judge.medium import Medium
from images.layout import Layout


@dataclass(frozen=True)
class KnownImage:
    """A root file system image by what it is: its size in bytes and its SHA-256 in hexadecimal.

    `artifact_name` is what a device that runs it calls itself; empty: the same as `name`.
    """

    name: str
    size: int
    sha256: str
    artifact_name: str = ""

    @classmethod
    def of_file(cls, name: str, path: Path) -> KnownImage:
        with path.open("rb") as image:
            digest = hashlib.file_digest(image, "sha256").hexdigest()
        return cls(name, path.stat().st_size, digest)


def identify(medium: Medium, layout: Layout, slot: Slot, known: Sequence[KnownImage]) -> str | None:
    """The name of the first known image that the slot begins with, None if it is none of them."""
    place = layout.partition(f"rootfs-{slot}")
    digests: dict[int, str] = {}
    for image in known:
        if not 0 < image.size <= place.size:
            continue
        if image.size not in digests:
            digests[image.size] = medium.digest(place.start, image.size)
        if digests[image.size] == image.sha256.lower():
            return image.name
    return None
