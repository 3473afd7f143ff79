# SPDX-License-Identifier: Apache-2.0
"""What a mount of the data partition would find after a cut, as a key: points with the same key have the same files.

Most points differ in what no mount would see: the journal of a transaction that is not whole, or the content of blocks
that nothing refers to yet.  So e2fsprogs, which takes some 50 ms, has to look at few of them.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from hashlib import blake2b
from typing import Final

from harness.explore.recording import Recording
from harness.judge import data, journal
from harness.judge.filesystem import BLOCK, Filesystem, must_recover
from harness.storage import CrashPoint, Kind, Operation

NUMBER: Final = struct.Struct("<Q")
NOTHING_LOST: Final = CrashPoint(0)  # wherever it is


@dataclass(frozen=True, slots=True)
class _Part:
    """What one write puts into one block, from the byte `at` on; `reached` of the write's bytes lie before it."""

    block: int
    at: int
    content: bytes
    reached: int


class Mounted:
    """As the log goes on.  Holds the blocks that were written, and no others."""

    def __init__(self, recording: Recording) -> None:
        self._recording, self._window = recording, recording.about.layout.partition(data.PARTITION)
        self._base = recording.media.view
        self._filesystem = Filesystem.found(self._original)
        self._journal = frozenset(self._filesystem.journal if self._filesystem else ())
        self._durable: dict[int, bytes] = {}
        self._digests: dict[int, bytes] = {}
        self._first_digests: dict[int, bytes] = {}
        self._epoch: dict[int, list[_Part]] = {}

    def take(self, operation: Operation) -> None:
        """One more operation of the log has completed, whatever it is."""
        if operation.kind is Kind.FLUSH:
            self._flush()
        elif operation.kind is Kind.WRITE and operation.address in self._window:
            self._epoch[operation.index] = self._parts(operation)

    def key(self, point: CrashPoint) -> bytes | None:
        """The key of a point, whose position is the end of what was taken; None: it cannot be said."""
        known = self._filesystem
        if known is None:
            return None
        over = self._laid_over(point)

        def read(block: int) -> bytes:
            return over[block] if block in over else self._content(block)

        try:
            copied = journal.recovered(known.journal, read) if must_recover(read(0)) else {}
        except journal.UnknownJournal:
            return None
        return self._key_of(known, over, copied)

    def _key_of(self, known: Filesystem, over: Mapping[int, bytes], copied: Mapping[int, journal.Copied]) -> bytes:
        """Over all blocks that are used, and not as they were in the beginning."""

        def content(block: int) -> bytes:
            place = copied.get(block)
            source = place.source if place else block
            found = over[source] if source in over else self._content(source)
            return journal.unescaped(found) if place and place.escaped else found

        def digest(block: int) -> bytes:
            place = copied.get(block)
            source = place.source if place else block
            if source in over or (place and place.escaped):
                return _digest(content(block))
            return self._digest_of(source)

        bitmaps = {group: content(block) for group, block in known.bitmaps.items()}
        total = blake2b(digest_size=16)
        total.update(journal.without_start(content(known.journal[0])))
        for block in sorted(self._digests.keys() | over.keys() | copied.keys()):
            if block in self._journal or not known.is_used(block, bitmaps):
                continue
            found = digest(block)
            if found != self._first_digest(block):
                total.update(NUMBER.pack(block) + found)
        return total.digest()

    # -- blocks ----------------------------------------------------------------------------------------------------

    def _parts(self, operation: Operation) -> list[_Part]:
        content = self._recording.log.data(operation)
        first = operation.address - self._window.start
        parts, done = [], 0
        while done < len(content):
            block, at = divmod(first + done, BLOCK)
            size = min(BLOCK - at, len(content) - done)
            parts.append(_Part(block, at, content[done : done + size], done))
            done += size
        return parts

    def _laid_over(self, point: CrashPoint) -> dict[int, bytes]:
        """The blocks that the writes of the epoch change, with all of a write, the torn part of it or nothing."""
        over: dict[int, bytes] = {}
        for index, parts in self._epoch.items():
            if index in point.lost:
                continue
            for part in parts:
                content = part.content
                if index == point.tore and point.torn is not None:
                    content = content[: max(0, point.torn - part.reached)]
                if len(content) < BLOCK:
                    whole = over[part.block] if part.block in over else self._content(part.block)
                    content = whole[: part.at] + content + whole[part.at + len(content) :]
                over[part.block] = content
        return over

    def _flush(self) -> None:
        """All writes so far are durable."""
        for block, content in self._laid_over(NOTHING_LOST).items():
            self._durable[block], self._digests[block] = content, _digest(content)
        self._epoch = {}

    def _original(self, block: int) -> bytes:
        return self._base.read(self._window.start + block * BLOCK, BLOCK)

    def _content(self, block: int) -> bytes:
        if block not in self._durable:
            self._durable[block] = self._original(block)
        return self._durable[block]

    def _digest_of(self, block: int) -> bytes:
        found = self._digests.get(block)
        return found if found is not None else self._first_digest(block)

    def _first_digest(self, block: int) -> bytes:
        if block not in self._first_digests:
            self._first_digests[block] = _digest(self._original(block))
        return self._first_digests[block]


@lru_cache(maxsize=1024)  # most blocks are those of the point before, and bytes remember their hash
def _digest(content: bytes) -> bytes:
    return blake2b(content, digest_size=16).digest()
