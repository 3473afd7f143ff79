# SPDX-License-Identifier: Apache-2.0
"""What the journal of an ext4 file system would bring to its place when it is mounted, without mounting it.

Owns jbd2's format and the order of its recovery, and reads only: block numbers, no contents, come out of it.  Numbers
are big-endian.  Sources: Linux, Documentation/filesystems/ext4/journal.rst, and the recovery of e2fsprogs, against
which it is tested.  Refuses what it does not know: checksums, asynchronous and fast commits.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from harness.judge.filesystem import Read

MAGIC: Final = 0xC03B3998
HEADER: Final = struct.Struct(">III")  # magic, kind, sequence
SUPER: Final = struct.Struct(">12sIIIIIiIII")  # header, block size, length, first, sequence, start, errno, features
START: Final = slice(24, 32)  # sequence and start: they say where recovery begins, and nothing of what is there
DESCRIPTOR, COMMIT, SUPER_V2, REVOKE = 1, 2, 4, 5
ESCAPED, SAME_UUID, LAST = 1, 2, 8  # a tag's flags
HAS_REVOKES, IS_64BIT = 1, 2  # what may be among the incompatible features
KNOWN_FEATURES: Final = HAS_REVOKES | IS_64BIT
UUID_BYTES: Final = 16


class UnknownJournal(Exception):
    """It is damaged, or has a feature that is not known here."""


@dataclass(frozen=True)
class Copied:
    """A block of the journal that goes to its place; an `escaped` one gets the magic number back that was taken out."""

    source: int
    escaped: bool


@dataclass
class _Transaction:
    """Blocks of the file system: what is copied there, and what must not be."""

    sequence: int
    copied: dict[int, Copied] = field(default_factory=dict)
    revoked: list[int] = field(default_factory=list)


def recovered(blocks: Sequence[int], read: Read) -> Mapping[int, Copied]:
    """Which block of the file system would be overwritten with which block of the journal.

    `blocks` are the journal's, in order; `read` gives the content of a block of the file system.

    Raises:
        UnknownJournal: it cannot be said.
    """
    transactions = list(_Log(blocks, read).committed())
    revoked = {block: one.sequence for one in transactions for block in one.revoked}  # the last one counts
    return {
        block: copied
        for one in transactions
        for block, copied in one.copied.items()
        if block not in revoked or one.sequence > revoked[block]
    }


def unescaped(content: bytes) -> bytes:
    """A block as it was before its beginning, which looked like the journal's own, was taken out."""
    return MAGIC.to_bytes(4, "big") + content[4:]


def without_start(content: bytes) -> bytes:
    """The journal's superblock but for where recovery begins, of which no trace is left once that is done."""
    return content[: START.start] + content[START.stop :]


class _Log:
    """The ring of blocks behind the journal's superblock."""

    def __init__(self, blocks: Sequence[int], read: Read) -> None:
        self._blocks, self._read = blocks, read
        content = read(blocks[0])
        head, self._size, self._end, self._first, self._sequence, self._start, _, plain, features, _ = (
            SUPER.unpack_from(content)
        )
        magic, kind, _ = HEADER.unpack(head)
        if (magic, kind) != (MAGIC, SUPER_V2) or plain or features & ~KNOWN_FEATURES:
            raise UnknownJournal
        if self._size != len(content) or not 0 < self._first < self._end <= len(blocks):
            raise UnknownJournal
        if self._start and not self._first <= self._start < self._end:
            raise UnknownJournal
        self._wide = bool(features & IS_64BIT)

    def committed(self) -> Iterator[_Transaction]:
        """The transactions that are whole, in order."""
        if not self._start:
            return
        found = _Transaction(self._sequence)
        at = self._start
        for _ in range(self._end - self._first):  # no journal is longer, however damaged
            content = self._read(self._blocks[at])
            magic, kind, sequence = HEADER.unpack_from(content)
            if magic != MAGIC or sequence != found.sequence:
                return
            at = self._after(at)
            if kind == DESCRIPTOR:
                for block, flags in self._tags(content):
                    found.copied[block] = Copied(self._blocks[at], bool(flags & ESCAPED))
                    at = self._after(at)
            elif kind == REVOKE:
                found.revoked += self._revokes(content)
            elif kind == COMMIT:
                yield found
                found = _Transaction(found.sequence + 1 & 0xFFFFFFFF)
            else:
                return

    def _after(self, place: int) -> int:
        return self._first if place + 1 == self._end else place + 1

    def _tags(self, content: bytes) -> Iterator[tuple[int, int]]:
        """Block and flags of each tag."""
        size = 12 if self._wide else 8
        at = HEADER.size
        while at + size <= len(content):
            low, _, flags = struct.unpack_from(">IHH", content, at)
            (high,) = struct.unpack_from(">I", content, at + 8) if self._wide else (0,)
            yield high << 32 | low, flags
            at += size + (0 if flags & SAME_UUID else UUID_BYTES)
            if flags & LAST:
                return

    def _revokes(self, content: bytes) -> list[int]:
        form = ">Q" if self._wide else ">I"
        (end,) = struct.unpack_from(">I", content, HEADER.size)
        first, size = HEADER.size + 4, struct.calcsize(form)
        return [
            struct.unpack_from(form, content, at)[0] for at in range(first, min(end, len(content)) - size + 1, size)
        ]
