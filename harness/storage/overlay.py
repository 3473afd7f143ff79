# SPDX-License-Identifier: Apache-2.0
"""A disk that QEMU can run: a qcow2 file with the extents, over a read-only raw base.

Owns the writing of such files.  Refuses to read or change one.  The bytes written are a function of the extents'
content, the base's content around them, the size and the base's name alone.

The format is QEMU's (docs/interop/qcow2.rst), version 3 with clusters of 64 KiB and 16-bit reference counts, all
numbers big-endian.  The file holds, each beginning at a cluster:

    header with the base's name, refcount table, refcount blocks, L1 table, L2 tables, data in address order
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from harness.storage.extents import ExtentMap
from harness.storage.source import Sources, write_all
from harness.storage.view import layered

CLUSTER_BITS: Final = 16
CLUSTER: Final = 1 << CLUSTER_BITS
L2_ENTRIES: Final = CLUSTER // 8
REFCOUNTS: Final = CLUSTER // 2  # in one refcount block
REFCOUNT_ORDER: Final = 4  # 2 ** 4 bits each
COPIED: Final = 1 << 63  # the cluster belongs to this entry alone
SECTOR: Final = 512

# magic, version, name offset, name length, cluster bits, size, encryption, L1 entries, L1 offset, refcount table
# offset, its clusters, snapshots, their offset, incompatible, compatible and autoclear features, refcount order,
# header length
HEADER: Final = struct.Struct(">4sIQIIQIIQQIIQQQQII")
FORMAT_EXTENSION: Final = struct.pack(">II8s", 0xE2792ACA, 3, b"raw")
NO_MORE_EXTENSIONS: Final = bytes(8)
LONGEST_NAME: Final = 1023


@dataclass(frozen=True, slots=True)
class _Plan:
    """Where everything is in the file; in clusters of the file unless said otherwise."""

    clusters: list[int]  # of the disk that the file holds, ascending
    l1_entries: int
    tables: list[int]  # the L1 entries that have an L2 table, ascending
    blocks: int  # refcount blocks
    refcount_table: int  # clusters of it

    @property
    def l1(self) -> int:
        return 1 + self.refcount_table + self.blocks

    @property
    def l2(self) -> int:
        return self.l1 + _whole(self.l1_entries * 8, CLUSTER)

    @property
    def data(self) -> int:
        return self.l2 + len(self.tables)

    @property
    def total(self) -> int:
        return self.data + len(self.clusters)


def write_overlay(path: Path, base: Path, size: int, extents: ExtentMap) -> None:
    """Make (or replace) a qcow2 file with the extents over the base.

    Args:
        path: the file to write.
        base: the raw image underneath.  It is named in the file exactly so; a relative one is, as QEMU takes it,
            relative to the folder of `path`.  What it does not hold reads as zeros.
        size: of the disk, in bytes; a multiple of 512.
        extents: what lies over the base; clusters they cover in part are filled up from it.

    Raises:
        ValueError: the size is no multiple of 512, an extent reaches beyond it, or the base's name is too long.
        EOFError: a source ends inside an extent.
        OSError: a file cannot be read or written.
    """
    name = os.fsencode(base)
    if size < 0 or size % SECTOR:
        raise ValueError(f"A disk's size must be a multiple of {SECTOR} bytes, not {size}.")
    if extents.end > size:
        raise ValueError(f"An extent ends at byte {extents.end} of a disk of {size} bytes.")
    if len(name) > LONGEST_NAME:
        raise ValueError(f"The base's name is {len(name)} bytes long; QEMU takes {LONGEST_NAME}.")
    content = layered(path.parent / base, extents)
    plan = _plan(extents, size)
    with path.open("wb") as out:
        out.truncate(plan.total * CLUSTER)
        fd = out.fileno()
        write_all(fd, _header(plan, size, name), 0)
        _write_refcounts(fd, plan)
        _write_mapping(fd, plan)
        _write_data(fd, plan, size, content)


def _plan(extents: ExtentMap, size: int) -> _Plan:
    clusters: list[int] = []
    for extent in extents:
        first = extent.address // CLUSTER
        if clusters and clusters[-1] == first:
            first += 1
        clusters.extend(range(first, (extent.end - 1) // CLUSTER + 1))
    tables = sorted({cluster // L2_ENTRIES for cluster in clusters})
    plan = _Plan(clusters, _whole(_whole(size, CLUSTER), L2_ENTRIES), tables, 1, 1)
    while plan.total > plan.blocks * REFCOUNTS:  # the blocks count themselves too
        blocks = _whole(plan.total, REFCOUNTS)
        plan = _Plan(clusters, plan.l1_entries, tables, blocks, _whole(blocks * 8, CLUSTER))
    return plan


def _header(plan: _Plan, size: int, name: bytes) -> bytes:
    extensions = FORMAT_EXTENSION + NO_MORE_EXTENSIONS
    fixed = HEADER.pack(
        *(b"QFI\xfb", 3, HEADER.size + len(extensions), len(name), CLUSTER_BITS, size, 0),
        *(plan.l1_entries, plan.l1 * CLUSTER, CLUSTER, plan.refcount_table),
        *(0, 0, 0, 0, 0, REFCOUNT_ORDER, HEADER.size),
    )
    return fixed + extensions + name


def _write_refcounts(fd: int, plan: _Plan) -> None:
    """Every cluster of the file is used exactly once."""
    first = 1 + plan.refcount_table
    _write_numbers(fd, CLUSTER, [(first + block) * CLUSTER for block in range(plan.blocks)])
    write_all(fd, struct.pack(">H", 1) * plan.total, first * CLUSTER)


def _write_mapping(fd: int, plan: _Plan) -> None:
    l1 = [0] * plan.l1_entries
    l2 = {table: [0] * L2_ENTRIES for table in plan.tables}
    for place, cluster in enumerate(plan.clusters, plan.data):
        l2[cluster // L2_ENTRIES][cluster % L2_ENTRIES] = place * CLUSTER | COPIED
    for place, table in enumerate(plan.tables, plan.l2):
        l1[table] = place * CLUSTER | COPIED
        _write_numbers(fd, place * CLUSTER, l2[table])
    _write_numbers(fd, plan.l1 * CLUSTER, l1)


def _write_data(fd: int, plan: _Plan, size: int, content: ExtentMap) -> None:
    """Copy the clusters, as many at a time as stand together on the disk; they stand together in the file too."""
    clusters = plan.clusters
    begin = 0
    with Sources() as sources:
        for number in range(1, len(clusters) + 1):
            if number < len(clusters) and clusters[number] == clusters[number - 1] + 1:
                continue
            start = clusters[begin] * CLUSTER
            end = min((clusters[number - 1] + 1) * CLUSTER, size)
            shift = (plan.data + begin) * CLUSTER - start
            for extent in content.within(start, end):
                sources.copy(extent.source, extent.offset, extent.length, fd, extent.address + shift)
            begin = number


def _write_numbers(fd: int, at: int, numbers: list[int]) -> None:
    write_all(fd, struct.pack(f">{len(numbers)}Q", *numbers), at)


def _whole(count: int, unit: int) -> int:
    """How many units it takes."""
    return -(-count // unit)
