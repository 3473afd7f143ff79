# SPDX-License-Identifier: Apache-2.0
"""Where everything is on a board's media.

All media of a board are windows of one image, so that one log can hold all their writes in order:

    card   the raw card with U-Boot's two environment copies (a power of two, as the controller wants)
    disk   GPT with rootfs A, rootfs B and data
    marks  the strip onto which an updater may write the names of its steps
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

MIB = 1024 * 1024
SECTOR = 512


@dataclass(frozen=True)
class Window:
    """A contiguous part of the image; `start` and `size` in bytes."""

    name: str
    start: int
    size: int

    @property
    def end(self) -> int:
        return self.start + self.size

    def __contains__(self, address: int) -> bool:
        return self.start <= address < self.end


@dataclass(frozen=True)
class Layout:
    """The windows of the image and the partitions of the disk; all numbers in bytes."""

    card: Window
    disk: Window
    marks: Window
    partitions: tuple[Window, ...]  # addresses within the disk
    env_offsets: tuple[int, ...]  # within the card, one for each copy
    env_size: int

    @property
    def size(self) -> int:
        return self.marks.end

    @property
    def windows(self) -> tuple[Window, ...]:
        return (self.card, self.disk, self.marks)

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Layout:
        """The layout that `dataclasses.asdict` has taken apart.

        Raises:
            KeyError, TypeError: it has not.
        """
        windows = {name: Window(**values[name]) for name in ("card", "disk", "marks")}
        partitions = tuple(Window(**one) for one in values["partitions"])
        return cls(
            **windows, partitions=partitions, env_offsets=tuple(values["env_offsets"]), env_size=values["env_size"]
        )

    def with_single_environment(self) -> Layout:
        """The same media with one environment copy only."""
        return replace(self, env_offsets=self.env_offsets[:1])

    @property
    def outside(self) -> tuple[Window, Window]:
        """What of the disk lies before the first partition and after the last one: the partition table's places."""
        first, last = self.partition(self.partitions[0].name), self.partition(self.partitions[-1].name)
        before = Window("table", self.disk.start, first.start - self.disk.start)
        return before, Window("backup-table", last.end, self.disk.end - last.end)

    def window_of(self, address: int) -> Window:
        """The window that holds this address of the image.

        Raises:
            ValueError: none does.
        """
        for window in self.windows:
            if address in window:
                return window
        raise ValueError(f"No window holds address {address:#x}.")

    def partition(self, name: str) -> Window:
        """A partition by name, with its place in the *image*."""
        for part in self.partitions:
            if part.name == name:
                return Window(name, self.disk.start + part.start, part.size)
        raise KeyError(name)


SLOT_BYTES = 96 * MIB
LAYOUT = Layout(
    card=Window("card", 0, 16 * MIB),
    disk=Window("disk", 16 * MIB, 260 * MIB),
    marks=Window("marks", 276 * MIB, 1 * MIB),
    partitions=(
        Window("rootfs-a", 1 * MIB, SLOT_BYTES),
        Window("rootfs-b", 1 * MIB + SLOT_BYTES, SLOT_BYTES),
        Window("data", 1 * MIB + 2 * SLOT_BYTES, 64 * MIB),
    ),
    env_offsets=(0x400000, 0x800000),
    env_size=0x10000,
)
