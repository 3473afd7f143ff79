# SPDX-License-Identifier: Apache-2.0
"""The board's media as they leave the factory: an empty card, a partitioned disk with A in slot A, an empty strip.

One sparse file holds all of them (see `images.layout`).  The data partition is left empty here; it is made for
each device by `provision`.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images import ext4
from images.layout import LAYOUT, MIB, SECTOR, Layout
from images.release import Release
from images.run import run
from images.stage import Stage, Workshop

DISK_ID = "B007B007-0000-4000-8000-0000000000D0"
PARTITION_ID = "B007B007-0000-4000-8000-0000000000{:02X}"
DATA_UUID = "b007b007-0000-4000-8000-000000000003"


@dataclass(frozen=True)
class Disk(Stage):
    """Makes `board.img`, the one sparse image behind all media of a board."""

    release: Release
    name: ClassVar[str] = "disk"
    says: ClassVar[str] = "Making the disk image with version"
    code: ClassVar[tuple[str, ...]] = ("ext4.py",)

    @property
    def label(self) -> str:
        return f"{self.release.label} in slot A"

    def inputs(self) -> dict[str, Any]:
        return {"release": self.release.key, "layout": repr(LAYOUT)}

    def build(self, into: Path, workshop: Workshop) -> None:
        image = into / "board.img"
        with image.open("wb") as out:
            out.truncate(LAYOUT.size)
        with tempfile.TemporaryDirectory(dir=into) as scratch:
            table = Path(scratch, "disk.img")
            partition(table, LAYOUT)
            copy_into(table, image, LAYOUT.disk.start)
        slot = workshop.get(self.release) / "rootfs.ext4"
        copy_into(slot, image, LAYOUT.partition("rootfs-a").start)


def partition(image: Path, layout: Layout) -> None:
    """Write a GPT with the layout's partitions, under fixed identifiers, into a new sparse file."""
    import parted

    with image.open("wb") as out:
        out.truncate(layout.disk.size)
    device = parted.getDevice(str(image))
    disk = parted.freshDisk(device, "gpt")
    for part in layout.partitions:
        geometry = parted.Geometry(device, start=part.start // SECTOR, length=part.size // SECTOR)
        entry = parted.Partition(disk=disk, type=parted.PARTITION_NORMAL, geometry=geometry)
        entry.name = part.name
        disk.addPartition(entry, parted.Constraint(exactGeom=geometry))
    disk.commitToDevice()
    # libparted draws random identifiers; the same inputs are to give the same bytes.
    run(["sfdisk", "-q", "--disk-id", image, DISK_ID])
    for number in range(1, len(layout.partitions) + 1):
        run(["sfdisk", "-q", "--part-uuid", image, str(number), PARTITION_ID.format(number)])


def provision(files: Mapping[str, tuple[bytes, int]], image: Path, *, size: int) -> None:
    """Make a device's data partition: a journalled ext4 of `size` bytes with `files` (path -> content, mode)."""
    with tempfile.TemporaryDirectory() as scratch:
        tree = Path(scratch, "data")
        tree.mkdir()
        for name, (content, mode) in files.items():
            path = tree / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
            path.chmod(mode)
        ext4.make(tree, image, size=size, uuid=DATA_UUID, label="data", journal=True)


def copy_into(source: Path, image: Path, offset: int) -> None:
    """Copy the parts of a sparse file that hold data to `offset` of `image`; holes stay holes."""
    with source.open("rb") as reader, image.open("r+b") as writer:
        end = os.fstat(reader.fileno()).st_size
        place = 0
        while place < end:
            try:
                start = os.lseek(reader.fileno(), place, os.SEEK_DATA)
            except OSError:  # no data from here on
                break
            place = os.lseek(reader.fileno(), start, os.SEEK_HOLE)
            for at in range(start, place, MIB):
                writer.seek(offset + at)
                writer.write(os.pread(reader.fileno(), min(MIB, place - at), at))
