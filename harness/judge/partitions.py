# SPDX-License-Identifier: Apache-2.0
"""The partition table of the disk: GPT, both copies, and whether it is still the layout's.

Owns reading and checking it.  Refuses to fall back from a broken copy to the other one: each must stand for itself.
"""

from __future__ import annotations

import struct
import zlib
from dataclasses import dataclass
from itertools import pairwise
from uuid import UUID

from harness.judge.medium import Medium
from images.layout import SECTOR, Layout

SIGNATURE = b"EFI PART"
REVISION = 0x00010000
HEADER = struct.Struct("<8sIIIIQQQQ16sQIII")
ENTRY = struct.Struct("<16s16sQQQ72s")
PRIMARY_LBA = 1
MOST_ENTRY_BYTES = 1024 * 1024
PROTECTIVE = 0xEE
MBR_ENTRIES = range(446, 510, 16)


class BrokenTable(ValueError):
    """A copy of the partition table that cannot be believed; says why."""


@dataclass(frozen=True)
class Partition:
    """An entry of the table; `start` and `size` in bytes within the disk."""

    name: str
    start: int
    size: int
    kind: UUID
    identity: UUID

    @property
    def end(self) -> int:
        return self.start + self.size


@dataclass(frozen=True)
class _Header:
    other_lba: int
    usable: tuple[int, int]
    disk: UUID
    entries_lba: int
    count: int
    entry_size: int
    entries_crc: int


def read_gpt(medium: Medium, start: int, size: int, *, backup: bool = False) -> list[Partition]:
    """The partitions of the disk of `size` bytes at `start`, from the primary or the backup copy alone.

    Raises:
        BrokenTable: this copy is not valid.
    """
    return _read(medium, start, size, backup=backup)[1]


def complaints(medium: Medium, layout: Layout) -> list[str]:
    """What is wrong with the disk's partition table: either copy, or the partitions themselves; empty when whole."""
    start, size = layout.disk.start, layout.disk.size
    found = _mbr_complaints(medium.read(start, SECTOR))
    tables: dict[str, tuple[UUID, list[Partition]]] = {}
    for name, backup in (("primary", False), ("backup", True)):
        try:
            tables[name] = _read(medium, start, size, backup=backup)
        except BrokenTable as broken:
            found.append(f"The {name} partition table is broken: {broken}")
    if len(tables) == 2 and tables["primary"] != tables["backup"]:
        found.append("The primary and the backup partition table differ.")
    wanted = [(part.name, part.start, part.size) for part in layout.partitions]
    for name, (_, partitions) in tables.items():
        there = [(part.name, part.start, part.size) for part in partitions]
        if there != wanted:
            found.append(f"The {name} partition table has {_list(there)} instead of {_list(wanted)}.")
    return found


def _read(medium: Medium, start: int, size: int, *, backup: bool) -> tuple[UUID, list[Partition]]:
    last = size // SECTOR - 1
    lba, other = (last, PRIMARY_LBA) if backup else (PRIMARY_LBA, last)
    header = _header(medium.read(start + lba * SECTOR, SECTOR), lba)
    if header.other_lba != other:
        raise BrokenTable(f"it has its other copy at sector {header.other_lba} instead of {other}.")
    length = header.count * header.entry_size
    if header.entry_size < ENTRY.size or header.entry_size % ENTRY.size or not 0 < length <= MOST_ENTRY_BYTES:
        raise BrokenTable(f"{header.count} entries of {header.entry_size} bytes cannot be.")
    if not PRIMARY_LBA < header.entries_lba <= last - -(-length // SECTOR):
        raise BrokenTable(f"its entries at sector {header.entries_lba} are not on the disk.")
    array = medium.read(start + header.entries_lba * SECTOR, length)
    if zlib.crc32(array) != header.entries_crc:
        raise BrokenTable("the checksum of its entries is wrong.")
    raw = (array[place : place + ENTRY.size] for place in range(0, length, header.entry_size))
    partitions = [_entry(entry, header.usable) for entry in raw if any(entry[:16])]
    _no_overlap(partitions)
    return header.disk, partitions


def _header(sector: bytes, lba: int) -> _Header:
    fields = HEADER.unpack_from(sector)
    signature, revision, length, crc, zero, own_lba = fields[:6]
    if signature != SIGNATURE:
        raise BrokenTable(f"there is no header in sector {lba}.")
    if revision != REVISION or not HEADER.size <= length <= SECTOR:
        raise BrokenTable(f"its header is of revision {revision:#x} and {length} bytes long.")
    if zlib.crc32(sector[:16] + bytes(4) + sector[20:length]) != crc:
        raise BrokenTable("the checksum of its header is wrong.")
    if zero or any(sector[length:]):
        raise BrokenTable("there are bytes where its header must be empty.")
    if own_lba != lba:
        raise BrokenTable(f"its header in sector {lba} was written for sector {own_lba}.")
    other_lba, first, final, disk, entries_lba, count, entry_size, entries_crc = fields[6:]
    return _Header(other_lba, (first, final), UUID(bytes_le=disk), entries_lba, count, entry_size, entries_crc)


def _entry(raw: bytes, usable: tuple[int, int]) -> Partition:
    kind, identity, first, final, _, name = ENTRY.unpack(raw)
    label = name.decode("utf-16-le", "replace").partition("\0")[0]
    lowest, highest = usable
    if not lowest <= first <= final <= highest:
        raise BrokenTable(f"partition '{label}' lies at sectors {first} to {final}, outside {lowest} to {highest}.")
    place, size = first * SECTOR, (final - first + 1) * SECTOR
    return Partition(label, place, size, UUID(bytes_le=kind), UUID(bytes_le=identity))


def _no_overlap(partitions: list[Partition]) -> None:
    in_order = sorted(partitions, key=lambda part: part.start)
    for one, following in pairwise(in_order):
        if following.start < one.end:
            raise BrokenTable(f"partitions '{one.name}' and '{following.name}' overlap.")


def _mbr_complaints(sector: bytes) -> list[str]:
    """Without a protective MBR neither U-Boot nor Linux looks for a GPT."""
    entries = [sector[place : place + 16] for place in MBR_ENTRIES]
    protective = any(entry[4] == PROTECTIVE and entry[8:12] == b"\1\0\0\0" for entry in entries)
    if sector[510:512] == b"\x55\xaa" and protective:
        return []
    return ["The protective MBR is broken."]


def _list(partitions: list[tuple[str, int, int]]) -> str:
    return ", ".join(f"{name} ({size} bytes at {start})" for name, start, size in partitions) or "no partitions"
