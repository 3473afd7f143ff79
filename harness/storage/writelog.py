# SPDX-License-Identifier: Apache-2.0
"""The ordered log of everything a board asked its media to do.

Owns the reading of the log that QEMU's `blklogwrites` filter writes, also while QEMU is still writing it.
Refuses to interpret: what an operation means for a power cut is the business of `harness.storage.crash`.

The format is that of Linux's dm-log-writes (drivers/md/dm-log-writes.c) as QEMU writes it (block/blklogwrites.c),
all numbers little-endian, all places in sectors of 512 bytes:

    sector 0    u64 magic 0x6a736677736872, u64 version 1, u64 number of entries, u32 sector size
    then, for each entry, one header sector
                u64 sector, u64 number of sectors, u64 flags, u64 data_len (used by marks alone)
    and, unless it is a discard, the data: as many sectors as the header says

QEMU appends an entry when the operation has completed and only then completes it towards the board, so the log's
order is the order of completion, and what the board saw complete stands in the log.  With requests in flight the
number of entries may for a moment count one that is not in the file yet; such an entry is waited for.
"""

from __future__ import annotations

import os
import struct
from dataclasses import dataclass
from enum import Enum
from pathlib import Path
from types import TracebackType
from typing import Final, Self

MAGIC: Final = 0x6A736677736872
VERSION: Final = 1
SECTOR: Final = 512

FLUSH_FLAG: Final = 1
FUA_FLAG: Final = 2
DISCARD_FLAG: Final = 4
MARK_FLAG: Final = 8
KNOWN_FLAGS: Final = FLUSH_FLAG | FUA_FLAG | DISCARD_FLAG | MARK_FLAG

SUPERBLOCK: Final = struct.Struct("<QQQI")
HEADER: Final = struct.Struct("<QQQQ")
COUNT: Final = struct.Struct("<Q")
COUNT_OFFSET: Final = 16
LAST_ADDRESS: Final = 1 << 62


class LogError(Exception):
    """The file is not a write log, or a damaged one; the message is one sentence."""


class Kind(Enum):
    """What the board asked for."""

    WRITE = "write"
    FLUSH = "flush"
    DISCARD = "discard"


@dataclass(frozen=True, slots=True)
class Operation:
    """One completed operation; addresses, lengths and offsets in bytes.

    Attributes:
        index: its place in the order of completion, from 0; the position after it is `index + 1`.
        kind: what was asked for.
        address: where in the image; 0 for a flush.
        length: how many bytes of the image; 0 for a flush.
        offset: where a write's data begin in the log file; 0 for all others.
        fua: the write was durable when it completed (forced unit access).
    """

    index: int
    kind: Kind
    address: int
    length: int
    offset: int
    fua: bool = False

    @property
    def end(self) -> int:
        """The first address after the operation."""
        return self.address + self.length


class WriteLog:
    """A write log, as far as it has been read.

    A new object has read nothing: call `poll` or, when QEMU is gone, `finish`.  Not for several threads at once.

    Args:
        path: the log file; it must exist, and may be empty as long as QEMU has written nothing.

    Raises:
        OSError: the file cannot be opened.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self.operations: list[Operation] = []
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._begun = False
        self._announced = 0
        self._entries = 0
        self._next = SECTOR

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        """Close the log file; the operations read so far remain."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    @property
    def pending(self) -> int:
        """How many entries the superblock counts that were not in the file when it was last polled."""
        return self._announced - self._entries

    def poll(self) -> list[Operation]:
        """Read what has been completed since the last call, and return it; also appended to `operations`.

        Costs one read of 8 bytes when there is nothing new.

        Raises:
            LogError: the log is damaged, or no log of this format.
        """
        self._announced = max(self._announced, self._count())
        if self._announced == self._entries:
            return []
        first = len(self.operations)
        size = os.fstat(self._fd).st_size
        while self._entries < self._announced and self._read_entry(size):
            self._entries += 1
        return self.operations[first:]

    def finish(self) -> list[Operation]:
        """Poll a last time, after QEMU has ended, and insist that all the log announces is there.

        Raises:
            LogError: as `poll`, or the file ends before the entries that its superblock counts.
        """
        new = self.poll()
        if not self._begun:
            raise LogError(f"{self.path.name} holds no log: its superblock was never written.")
        if self.pending:
            raise LogError(
                f"{self.path.name} announces {self._announced} entries but holds {self._entries}: "
                f"the one at byte {self._next} is missing or incomplete."
            )
        return new

    def data(self, operation: Operation) -> bytes:
        """The bytes that a write wrote; empty for all other kinds.

        Raises:
            LogError: the file has become shorter since the operation was read.
        """
        if operation.kind is not Kind.WRITE:
            return b""
        data = os.pread(self._fd, operation.length, operation.offset)
        if len(data) != operation.length:
            raise LogError(f"{self.path.name} ends inside the data of operation {operation.index}.")
        return data

    def _count(self) -> int:
        """The number of entries that the superblock announces; 0 while there is no superblock."""
        if self._begun:
            raw = os.pread(self._fd, COUNT.size, COUNT_OFFSET)
            if len(raw) != COUNT.size:
                raise LogError(f"{self.path.name} has lost its superblock.")
            return int(COUNT.unpack(raw)[0])
        raw = os.pread(self._fd, SUPERBLOCK.size, 0)
        if len(raw) < SUPERBLOCK.size or not any(raw):
            return 0
        magic, version, count, sector = SUPERBLOCK.unpack(raw)
        if magic != MAGIC:
            raise LogError(f"{self.path.name} is no write log: its magic is {magic:#x}, not {MAGIC:#x}.")
        if version != VERSION:
            raise LogError(f"{self.path.name} has log version {version}; only version {VERSION} is known.")
        if sector != SECTOR:
            raise LogError(f"{self.path.name} has log sectors of {sector} bytes; {SECTOR} are required.")
        self._begun = True
        return int(count)

    def _read_entry(self, size: int) -> bool:
        """Read the next entry; False if it is not (completely) in the file of this size yet."""
        raw = os.pread(self._fd, HEADER.size, self._next)
        if len(raw) < HEADER.size or not any(raw):
            return False
        sector, sectors, flags, _ = HEADER.unpack(raw)
        if flags & ~KNOWN_FLAGS:
            raise LogError(f"{self.path.name} has unknown flags {flags:#x} in the entry at byte {self._next}.")
        address, length = sector * SECTOR, sectors * SECTOR
        if address + length > LAST_ADDRESS:
            raise LogError(
                f"{self.path.name} has an impossible entry at byte {self._next}: {sectors} sectors at sector {sector}."
            )
        offset = self._next + SECTOR
        end = offset if flags & DISCARD_FLAG else offset + length
        if end > size:
            return False
        self._append(address, length, flags, offset)
        self._next = end
        return True

    def _append(self, address: int, length: int, flags: int, offset: int) -> None:
        """Turn one entry into operations: a flush that carries data is a flush, then a write; a mark is none."""
        operations = self.operations
        if flags & FLUSH_FLAG:
            operations.append(Operation(len(operations), Kind.FLUSH, 0, 0, 0))
        if flags & DISCARD_FLAG:
            operations.append(Operation(len(operations), Kind.DISCARD, address, length, 0))
        elif length and not flags & MARK_FLAG:
            fua = bool(flags & FUA_FLAG)
            operations.append(Operation(len(operations), Kind.WRITE, address, length, offset, fua))
