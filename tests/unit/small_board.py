# SPDX-License-Identifier: Apache-2.0
"""A board's media in small: every window and partition, with few bytes in each."""

from collections.abc import Mapping
from pathlib import Path

from images import disk
from images.layout import MIB, Layout, Window

LAYOUT = Layout(
    card=Window("card", 0, 1 * MIB),
    disk=Window("disk", 1 * MIB, 22 * MIB),
    marks=Window("marks", 23 * MIB, 1 * MIB),
    partitions=(
        Window("rootfs-a", 1 * MIB, 2 * MIB),
        Window("rootfs-b", 3 * MIB, 2 * MIB),
        Window("data", 5 * MIB, 16 * MIB),
    ),
    env_offsets=(0x10000, 0x20000),
    env_size=0x1000,
)


def make_image(folder: Path, files: Mapping[str, bytes]) -> Path:
    """A partitioned disk with files on its data partition; card and slots are empty."""
    image = folder / "board.img"
    with image.open("wb") as out:
        out.truncate(LAYOUT.size)
    disk.partition(folder / "disk.img", LAYOUT)
    disk.copy_into(folder / "disk.img", image, LAYOUT.disk.start)
    place = LAYOUT.partition("data")
    disk.provision({path: (content, 0o644) for path, content in files.items()}, folder / "data.img", size=place.size)
    disk.copy_into(folder / "data.img", image, place.start)
    return image
