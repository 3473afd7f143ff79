# SPDX-License-Identifier: Apache-2.0
"""Versions of the system, good and bad, each derived from the one base by a named recipe.

A is what a board leaves the factory with; every other version differs from it in its visible name, and the
bad ones in the one thing they are bad at.
"""

from __future__ import annotations

import os
import struct
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from images import ext4
from images.errors import ImageError
from images.ext4 import Edit
from images.layout import MIB, SLOT_BYTES
from images.statescripts import artifact_scripts, rootfs_scripts

NAME_FILE = "/etc/mender/artifact_info"
HANGING_INIT = b"#!/bin/sh\necho 'bootproof: init hangs' >/dev/console\nwhile :; do sleep 3600; done\n"
SILENT_NETWORK = b"#!/bin/sh\n# This version does not bring its network up.\nexit 0\n"
CONFIGURATION = "/etc/mender/mender.conf"
BROKEN_CONFIGURATION = b'{"UpdatePollIntervalSeconds": "often"}\n'
TRUNCATED_BYTES = 20 * MIB
Materials = Callable[[str], Path]  # name of a file that the kernel stage makes -> its path


@dataclass(frozen=True)
class Recipe:
    """What makes a version: edits of the base, then a new size (bytes) if one is named.

    Its artifact carries `scripts`, by name.
    """

    name: str
    says: str
    edits: Callable[[Materials], Sequence[Edit]] = lambda _: ()
    size: int | None = None
    scripts: Mapping[str, bytes] = field(default_factory=dict)

    @property
    def artifact_name(self) -> str:
        return f"release-{self.name}"

    def apply(self, image: Path, materials: Materials) -> None:
        """Turn a copy of the base into this version, in place."""
        ext4.edit(image, [Edit(NAME_FILE, f"artifact_name={self.artifact_name}\n".encode()), *self.edits(materials)])
        if self.size is not None:
            os.truncate(image, self.size)


def _kernel_that_hangs(_: Materials) -> Sequence[Edit]:
    """The smallest image that U-Boot starts: one branch to itself (arm64 boot protocol, header of 64 bytes)."""
    branch_to_itself = 0x14000000
    header = struct.pack("<IIQQQQQQ4sI", branch_to_itself, 0, 0, 4096, 0b1010, 0, 0, 0, b"ARM\x64", 0)
    return [Edit("/boot/vmlinuz", header.ljust(4096, b"\0"))]


def _initrd_that_panics(materials: Materials) -> Sequence[Edit]:
    return [Edit("/boot/initrd.img", materials("initrd-panics.img").read_bytes())]


def _no_network(_: Materials) -> Sequence[Edit]:
    return [Edit("/etc/init.d/network", SILENT_NETWORK, 0o755)]


def _scripted(name: str, says: str, version: str = "3") -> Recipe:
    return Recipe(name, says, edits=lambda _: rootfs_scripts(version), scripts=artifact_scripts())


RECIPES = {
    recipe.name: recipe
    for recipe in (
        Recipe("a", "the version from the factory"),
        Recipe("b", "a good new version"),
        Recipe("c", "another good version"),
        Recipe("kernel-panics", "its kernel panics on the way up", edits=_initrd_that_panics),
        Recipe("kernel-hangs", "its kernel hangs at its first instruction", edits=_kernel_that_hangs),
        Recipe("init-hangs", "its first process hangs", edits=lambda _: [Edit("/sbin/init", HANGING_INIT, 0o755)]),
        Recipe("no-network", "it does not bring its network up", edits=_no_network),
        Recipe("no-updater", "its updater cannot start", edits=lambda _: [Edit(CONFIGURATION, BROKEN_CONFIGURATION)]),
        Recipe("too-big", "one sector larger than a slot", size=SLOT_BYTES + 512),
        _scripted("scripted-b", "with state scripts that do as they are told"),
        _scripted("scripted-c", "another one with such scripts"),
        _scripted("scripts-unknown", "its state scripts are of an unknown version", version="1000"),
        Recipe("truncated", "its file system ends too early", size=TRUNCATED_BYTES),
    )
}  # fmt: skip


def recipe(name: str) -> Recipe:
    """The recipe of that name.

    Raises:
        ImageError: there is none.
    """
    try:
        return RECIPES[name]
    except KeyError:
        raise ImageError(f"There is no version '{name}'.", f"There are {', '.join(RECIPES)}.") from None
