# SPDX-License-Identifier: Apache-2.0
"""A board that is updated by Debian's mender-client alone: nothing of it is ours but the base system.

    python -m images.menderboard FOLDER

puts there what `bootproof explore --image` wants: `board.img` (slot A holds version a, slot B nothing, the data
partition the artifacts `b.mender` and `c.mender`), and the slot images `a.img`, `b.img` and `c.img`.
"""

from __future__ import annotations

import argparse
import re
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images import ext4
from images.disk import copy_into, partition, provision
from images.foreign import MenderClient
from images.kernel import Kernel
from images.layout import LAYOUT, MIB
from images.packages import Packages
from images.recipes import recipe
from images.release import ARTIFACT_FORMAT, COMPRESS_LEVEL, DEVICE_TYPE
from images.rootfs import INITIAL_ENVIRONMENT, OVERLAY, UUID, compose, unpack
from images.stage import Stage, Workshop, tree_digest
from updater.artifact import write_rootfs_artifact

OLD, UPDATES = "a", ("b", "c")
IMAGE_BYTES = 72 * MIB
# Our updater, and Python, which nothing else on the board needs.
OURS = ("etc/init.d/updater", "usr/bin/mender*", "usr/bin/python3*", "usr/lib/python3*", "usr/share/mender/modules")
INITTAB = "etc/inittab"
LIBRARIES = "usr/lib/aarch64-linux-gnu"
SONAME = re.compile(r".*\.so\.\d+")  # by which programs ask for a library


@dataclass(frozen=True)
class MenderSystem(Stage):
    """Makes `rootfs.ext4`: a version of our base system, with mender-client instead of our updater."""

    version: str
    packages: Packages = Packages()
    kernel: Kernel = Kernel()
    client: MenderClient = MenderClient()
    name: ClassVar[str] = "mender-system"
    says: ClassVar[str] = "Composing a system with Debian's mender-client, version"
    code: ClassVar[tuple[str, ...]] = ("rootfs.py", "recipes.py", "bytecode.py", "ext4.py")

    @property
    def label(self) -> str:
        return self.version

    def inputs(self) -> dict[str, Any]:
        return {
            "version": self.version, "packages": self.packages.key, "kernel": self.kernel.key,
            "client": self.client.key, "overlay": tree_digest([OVERLAY]),
            "environment": INITIAL_ENVIRONMENT.read_text(),
        }  # fmt: skip

    def build(self, into: Path, workshop: Workshop) -> None:
        kernel, client = workshop.get(self.kernel), workshop.get(self.client)
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch, "tree")
            unpack(workshop.get(self.packages) / "root.tar", tree)
            compose(tree, kernel)
            _exchange(tree, client)
            image = into / "rootfs.ext4"
            ext4.make(tree, image, size=IMAGE_BYTES, uuid=UUID, label="rootfs", journal=False)
        recipe(self.version).apply(image, lambda file: kernel / file)


def _exchange(tree: Path, client: Path) -> None:
    """Our updater for theirs."""
    for pattern in OURS:
        for found in tree.glob(pattern):
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
    inittab = tree / INITTAB
    lines = inittab.read_text().splitlines(keepends=True)
    inittab.write_text("".join(line for line in lines if "/etc/init.d/updater" not in line))
    shutil.copy(client / "bin/mender", tree / "usr/bin/mender")
    for library in (client / "lib").iterdir():
        if SONAME.fullmatch(library.name) and not (tree / LIBRARIES / library.name).exists():
            shutil.copy(library, tree / LIBRARIES)


@dataclass(frozen=True)
class MenderBoard(Stage):
    """Makes `board.img`, all media of the board, with the artifacts of the updates on its data partition."""

    system: MenderSystem = MenderSystem(OLD)
    first: MenderSystem = MenderSystem(UPDATES[0])
    second: MenderSystem = MenderSystem(UPDATES[1])
    name: ClassVar[str] = "mender-board"
    says: ClassVar[str] = "Making a board for Debian's mender-client"
    code: ClassVar[tuple[str, ...]] = ("disk.py", "ext4.py")

    def inputs(self) -> dict[str, Any]:
        return {
            "systems": [one.key for one in (self.system, self.first, self.second)], "layout": repr(LAYOUT),
            "format": tree_digest([ARTIFACT_FORMAT]), "level": COMPRESS_LEVEL,
        }  # fmt: skip

    def build(self, into: Path, workshop: Workshop) -> None:
        board = into / "board.img"
        with board.open("wb") as out:
            out.truncate(LAYOUT.size)
        files = {"mender/device_type": (f"device_type={DEVICE_TYPE}\n".encode(), 0o644)}
        data = LAYOUT.partition("data")
        with tempfile.TemporaryDirectory(dir=into) as scratch:
            for system in (self.first, self.second):
                artifact = Path(scratch, f"{system.version}.mender")
                _write(artifact, system.version, workshop.get(system) / "rootfs.ext4")
                files[artifact.name] = (artifact.read_bytes(), 0o644)
            table, partition_image = Path(scratch, "disk.img"), Path(scratch, "data.img")
            partition(table, LAYOUT)
            copy_into(table, board, LAYOUT.disk.start)
            provision(files, partition_image, size=data.size)
            copy_into(partition_image, board, data.start)
        copy_into(workshop.get(self.system) / "rootfs.ext4", board, LAYOUT.partition("rootfs-a").start)


def _write(artifact: Path, version: str, image: Path) -> None:
    name = recipe(version).artifact_name
    with artifact.open("wb") as out:
        write_rootfs_artifact(out, image=image, name=name, device_types=[DEVICE_TYPE], compress_level=COMPRESS_LEVEL)


def main() -> None:
    """Build it, if need be, and put it into a folder."""
    parser = argparse.ArgumentParser(prog="python -m images.menderboard", description=__doc__)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="where the images go; made if it is not there")
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    workshop = Workshop(say=print)
    made = {"board.img": workshop.get(MenderBoard()) / "board.img"}
    made |= {f"{one}.img": workshop.get(MenderSystem(one)) / "rootfs.ext4" for one in (OLD, *UPDATES)}
    for name, source in made.items():
        (folder / name).unlink(missing_ok=True)
        shutil.copyfile(source, folder / name)


if __name__ == "__main__":
    main()
