# SPDX-License-Identifier: Apache-2.0
"""Where an ext4 file system keeps what decides which of its blocks matter: superblock, journal, bitmaps.

Owns these places; they never move.  Numbers are little-endian.  Source: Linux, Documentation/filesystems/ext4/
(super.rst, group_descr.rst, ifork.rst).  Only blocks of 4 KiB are known, which is what every board here has.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Final, Self

BLOCK: Final = 4096
SUPERBLOCK: Final = 1024  # offset in the first block
MAGIC: Final = 0xEF53
JOURNAL_INODE: Final = 8
RECOVER: Final = 0x4  # incompatible feature: the journal must be replayed
BITS_64: Final = 0x80
GROUPS_META: Final = 0x10
BITMAP_UNINIT: Final = 0x2  # a group's flag: its bitmap is not there yet
EXTENTS: Final = 0xF30A

Read = Callable[[int], bytes]  # the content of a block, by its number


@dataclass(frozen=True)
class Filesystem:
    """`journal`: its blocks, in order.  `bitmaps`: by group, the block that says which blocks of the group are used."""

    group_blocks: int
    journal: tuple[int, ...]
    bitmaps: dict[int, int]

    @classmethod
    def found(cls, read: Read) -> Self | None:
        """The one whose blocks `read` gives; None if it is none that is known here."""
        first = read(0)[SUPERBLOCK:]
        magic, size = _short(first, 0x38), 1024 << _long(first, 0x18)
        features = _long(first, 0x60)
        if magic != MAGIC or size != BLOCK or features & GROUPS_META:
            return None
        blocks, group_blocks, group_inodes = _long(first, 0x04), _long(first, 0x20), _long(first, 0x28)
        descriptor = _short(first, 0xFE) if features & BITS_64 else 32
        groups = [_Group.read(read, number, descriptor) for number in range(-(-blocks // group_blocks))]
        at = (JOURNAL_INODE - 1) * _short(first, 0x58)
        if group_inodes < JOURNAL_INODE or not groups:
            return None
        inode = read(groups[0].inodes + at // BLOCK)[at % BLOCK :]
        journal = tuple(_extents(inode[40:100]))
        if not journal:
            return None
        return cls(
            group_blocks, journal, {at: one.bitmap for at, one in enumerate(groups) if not one.flags & BITMAP_UNINIT}
        )

    def is_used(self, block: int, bitmaps: dict[int, bytes]) -> bool:
        """Whether a block is in use, by the contents of the bitmaps; where there is none, it is taken to be."""
        group, place = divmod(block, self.group_blocks)
        bits = bitmaps.get(group)
        return bits is None or bool(bits[place >> 3] >> (place & 7) & 1)


def must_recover(first_block: bytes) -> bool:
    """Whether a mount replays the journal."""
    return bool(_long(first_block, SUPERBLOCK + 0x60) & RECOVER)


@dataclass(frozen=True)
class _Group:
    bitmap: int
    inodes: int
    flags: int

    @classmethod
    def read(cls, read: Read, number: int, size: int) -> Self:
        """The descriptor of a group; the table begins in the second block."""
        block, at = divmod(number * size, BLOCK)
        content = read(1 + block)[at : at + size]
        high = content[0x20:] if size >= 64 else bytes(32)
        wide = [low | _long(high, place) << 32 for place, low in ((0, _long(content, 0)), (8, _long(content, 8)))]
        return cls(wide[0], wide[1], _short(content, 0x12))


def _extents(area: bytes) -> Iterator[int]:
    """The blocks that an inode's extents name, if all of them are in the inode."""
    magic, count, _, depth = struct.unpack_from("<HHHH", area)
    if magic != EXTENTS or depth:
        return
    for number in range(count):
        _, length, high, low = struct.unpack_from("<IHHI", area, 12 + 12 * number)
        yield from range(high << 32 | low, (high << 32 | low) + length)


def _short(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 2], "little")


def _long(content: bytes, at: int) -> int:
    return int.from_bytes(content[at : at + 4], "little")
