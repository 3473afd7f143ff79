# SPDX-License-Identifier: Apache-2.0
"""Where artifact files lie: written once, never changed, removed whole. Knows nothing of what is inside them.

`ArtifactStore` is the port; here is a directory, in `objectstore` whatever speaks to an object store.
"""

import asyncio
import fcntl
import os
import uuid
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO, Protocol

from starlette.concurrency import run_in_threadpool

SUFFIX = ".mender"
DRAFT = ".incoming"
# Large enough that a download is as quick as the kernel's own way from file to socket; a client that does not read
# holds a few of them.
CHUNK = 1 << 18


class Draft(Protocol):
    """A file that is not there yet."""

    def write(self, data: bytes) -> object:
        """Raises OSError when it does not fit."""

    def keep(self) -> None:
        """Make it a file that survives a power cut. Raises OSError."""


class ArtifactStore(Protocol):
    """Files by their ids."""

    def draft(self, file: str) -> AbstractContextManager[Draft]:
        """A file to write; gone afterwards unless it was kept. Not swept away before the block is left."""

    def read(self, file: str, first: int, length: int) -> AsyncIterator[bytes]:
        """The bytes of a file from `first` on, in pieces."""

    def remove(self, file: str) -> None: ...

    def sweep(self, known: Callable[[], Collection[str]]) -> None:
        """Remove what a killed server left behind: drafts, and files that never got their row.

        `known` looks which files have one now: another server may be in the middle of an upload.
        """


@dataclass(frozen=True, slots=True)
class Directory:
    """Files in a directory. Several servers may share it: what one is writing, it holds by a lock."""

    folder: Path

    @contextmanager
    def draft(self, file: str) -> Iterator[Draft]:
        path = self.folder / f"{uuid.uuid4()}{DRAFT}"
        with path.open("xb") as out:
            fcntl.flock(out, fcntl.LOCK_EX)
            try:
                yield _LocalDraft(out, path, self._path(file))
            finally:
                path.unlink(missing_ok=True)

    async def read(self, file: str, first: int, length: int) -> AsyncIterator[bytes]:
        descriptor = os.open(self._path(file), os.O_RDONLY)
        try:
            while length > 0:
                piece = _read_cached(descriptor, first, min(CHUNK, length))
                if piece is None:
                    piece = await run_in_threadpool(os.pread, descriptor, min(CHUNK, length), first)
                if not piece:
                    return
                first, length = first + len(piece), length - len(piece)
                yield piece
                # Neither the file nor a quick client makes this wait: let the others have their turn.
                await asyncio.sleep(0)
        finally:
            os.close(descriptor)

    def remove(self, file: str) -> None:
        self._path(file).unlink(missing_ok=True)
        flush_names(self.folder)

    def sweep(self, known: Callable[[], Collection[str]]) -> None:
        kept = known()
        for path in self.folder.iterdir():
            if path.suffix == DRAFT or (path.suffix == SUFFIX and path.stem not in kept):
                with suppress(FileNotFoundError, BlockingIOError), path.open("rb") as left:
                    fcntl.flock(left, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    # An upload that has ended since then has let go of its file, and its row is there by now.
                    if path.suffix == DRAFT or path.stem not in known():
                        path.unlink()

    def _path(self, file: str) -> Path:
        return self.folder / f"{file}{SUFFIX}"


@dataclass(slots=True)
class _LocalDraft:
    out: BinaryIO
    path: Path
    final: Path

    def write(self, data: bytes) -> object:
        return self.out.write(data)

    def keep(self) -> None:
        self.out.flush()
        os.fsync(self.out.fileno())
        self.path.rename(self.final)
        flush_names(self.final.parent)


def flush_names(folder: Path) -> None:
    """Make a directory's names durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _read_cached(descriptor: int, first: int, length: int) -> bytes | None:
    """A piece that the kernel holds in memory, without a thread; None if it must come from the disk."""
    buffer = bytearray(length)
    try:
        got = os.preadv(descriptor, [buffer], first, os.RWF_NOWAIT)
    except OSError:
        return None
    # A part of it may be there; all is then asked for the slow way.
    return bytes(buffer) if got == length else None
