# SPDX-License-Identifier: Apache-2.0
"""A crash point in plain words: what was written where, by which step, and what of it was lost."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from harness.explore.recording import Recording
from harness.storage import CrashPoint, DiskView, Operation, crash_extents, tail_of, tearable
from images import ext4
from images.run import run

BLOCK: Final = 4096
JOURNAL: Final = 8  # its inode
FIRST_FILE: Final = 11
ORDINALS: Final = ("first", "second")


class Words:
    """What the operations of one recording are; files on the data partition are as the recording's end has them."""

    def __init__(self, recording: Recording) -> None:
        self.recording = recording
        self._layout = recording.about.layout

    def of(self, point: CrashPoint) -> list[str]:
        """The point, one sentence for each thing that happened to a write."""
        operations = self.recording.operations
        torn = self._torn(point)
        mentioned = [operations[index] for index in sorted(point.lost)] + ([torn] if torn else [])
        owners = self._owners(mentioned)
        said = [f"The power failed after {point.position} operations: {self._step(point.position)}."]
        said += [f"Lost: {self._write(operations[index], owners)}." for index in sorted(point.lost)]
        if torn is not None:
            said.append(f"Torn after {point.torn} bytes: {self._write(torn, owners)}.")
        spoiled = tail_of(operations, point, self._layout) if point.tail else None
        if spoiled is not None:
            said.append(f"Spoiled with {point.tail}: {spoiled[1]} bytes of {self._place(*spoiled, owners)}.")
        return said

    def _torn(self, point: CrashPoint) -> Operation | None:
        if point.torn is None:
            return None
        if point.tore is not None:
            return self.recording.operations[point.tore]
        return tearable(self.recording.operations, point.position, point.lost, self._layout)

    def _write(self, operation: Operation, owners: Mapping[int, str]) -> str:
        place = self._place(operation.address, operation.length, owners)
        return f"{place}, {operation.length:,} bytes, written {self._step(operation.index)}"

    def _step(self, position: int) -> str:
        """Between which two steps; how far within the update, if it names none."""
        if not self.recording.marks:
            since = position - self.recording.about.began
            return f"{since} operations after the update began" if since >= 0 else "before the update began"
        before = [mark.name for at, mark in self.recording.marks if at <= position]
        after = [mark.name for at, mark in self.recording.marks if at > position]
        begun = f"after '{before[-1]}'" if before else "before any step"
        return f"{begun} and before '{after[0]}'" if after else begun

    def _place(self, address: int, length: int, owners: Mapping[int, str]) -> str:
        layout = self._layout
        for number, offset in enumerate(layout.env_offsets):
            start = layout.card.start + offset
            if start <= address < start + layout.env_size:
                which = f"the {ORDINALS[number]} environment copy" if len(layout.env_offsets) > 1 else "the environment"
                return f"{which} from byte {address - start}"
        for part in layout.partitions:
            place = layout.partition(part.name)
            if address not in place:
                continue
            if part.name != "data":
                return f"slot {part.name[-1].upper()} from byte {address - place.start:,}"
            blocks = range((address - place.start) // BLOCK, (address + length - 1 - place.start) // BLOCK + 1)
            names = dict.fromkeys(owners[block] for block in blocks if block in owners)
            return f"{' and '.join(names) or 'the data partition'} on the data partition"
        return "the card" if address in layout.card else "the partition table"

    def _owners(self, operations: Sequence[Operation]) -> dict[int, str]:
        """Whose the blocks of the data partition are that these writes go to."""
        place = self._layout.partition("data")
        blocks = sorted(
            {
                (address - place.start) // BLOCK
                for one in operations
                for address in range(one.address, one.end, BLOCK)
                if address in place
            }
        )
        if not blocks:
            return {}
        with tempfile.TemporaryDirectory() as scratch:
            image = Path(scratch, "data.img")
            end = CrashPoint(len(self.recording.operations))
            extents = crash_extents(self.recording.log, end, self._layout, within=place)
            DiskView(self.recording.media.base, extents).write_to(image, place.start, place.size)
            ext4.replay(image)
            return _names(image, blocks)


def _names(image: Path, blocks: Sequence[int]) -> dict[int, str]:
    said = run(["debugfs", "-R", f"icheck {' '.join(map(str, blocks))}", image])
    inodes = {int(block): int(inode) for block, inode in re.findall(r"^(\d+)\t(\d+)$", said, re.MULTILINE)}
    files = sorted({inode for inode in inodes.values() if inode >= FIRST_FILE})
    listed = run(["debugfs", "-R", f"ncheck {' '.join(map(str, files))}", image]) if files else ""
    names = {int(inode): name for inode, name in re.findall(r"^(\d+)\t(/.*)$", listed, re.MULTILINE)}
    owners = {}
    for block in blocks:
        inode = inodes.get(block)
        if inode == JOURNAL:
            owners[block] = "the journal"
        else:
            owners[block] = names.get(inode or 0, "the file system's own blocks")
    return owners
