# SPDX-License-Identifier: Apache-2.0
"""Artifact files: written once, never changed, removed whole. Knows nothing of what is inside them."""

import os
import uuid
from collections.abc import Collection, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

SUFFIX = ".mender"
DRAFT = ".incoming"
CHUNK = 1 << 16


@dataclass(frozen=True, slots=True)
class Blobs:
    folder: Path

    def path(self, blob: str) -> Path:
        return self.folder / f"{blob}{SUFFIX}"

    @contextmanager
    def draft(self) -> Iterator[BinaryIO]:
        """A file to write into; gone afterwards unless it was kept."""
        path = self.folder / f"{uuid.uuid4()}{DRAFT}"
        with path.open("x+b") as file:
            try:
                yield file
            finally:
                path.unlink(missing_ok=True)

    def keep(self, draft: BinaryIO, blob: str) -> int:
        """Make a draft an artifact file that survives a power cut; its size."""
        draft.flush()
        os.fsync(draft.fileno())
        Path(draft.name).rename(self.path(blob))
        self._flush_names()
        return os.fstat(draft.fileno()).st_size

    def remove(self, blob: str) -> None:
        self.path(blob).unlink(missing_ok=True)
        self._flush_names()

    def sweep(self, known: Collection[str]) -> None:
        """Remove what a killed server left behind: drafts, and files that never got their row."""
        for path in self.folder.iterdir():
            if path.suffix == DRAFT or (path.suffix == SUFFIX and path.stem not in known):
                with suppress(FileNotFoundError):
                    path.unlink()

    def read(self, blob: str, first: int, length: int) -> Iterator[bytes]:
        with self.path(blob).open("rb") as file:
            file.seek(first)
            while length > 0 and (chunk := file.read(min(CHUNK, length))):
                length -= len(chunk)
                yield chunk

    def _flush_names(self) -> None:
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
