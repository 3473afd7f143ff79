# SPDX-License-Identifier: Apache-2.0
"""The payload: its files, streamed in order, each held against its checksum in the manifest.

Refused: files the manifest does not list, listed files that never come, a second payload, unknown entries, and an
artifact that does not end properly.
"""

import hashlib
from collections.abc import Iterator

from updater.artifact.compression import CHUNK, Compression, decompressed
from updater.artifact.errors import ArtifactError, UnsupportedFeature
from updater.artifact.header import ROOTFS_IMAGE
from updater.artifact.manifest import DATA_PREFIX, Manifest
from updater.artifact.names import check_file_name, shown
from updater.artifact.tarstream import TarEntry, TarReader


def check_file_count(payload_type: str | None, count: int) -> None:
    """Raise ArtifactError when a payload of this type cannot have this many files."""
    if payload_type is None and count:
        raise ArtifactError("the artifact states no payload type but has payload files")
    if payload_type == ROOTFS_IMAGE and count != 1:
        raise ArtifactError(f"a {ROOTFS_IMAGE} artifact has exactly one file, and this one has {count}")


class PayloadFile:
    """One file of the payload: `name` (a base name), `size` in bytes, `checksum` as 64 hex digits.

    `modified` is the time stated for it, in seconds since 1970; nothing vouches for it.

    Its content can be read once, and only until the next file is asked for.
    """

    def __init__(self, entry: TarEntry, manifest: Manifest) -> None:
        self.name = check_file_name(entry.name)
        self.size = entry.size
        self.modified = entry.modified
        self.checksum = manifest.checksum(DATA_PREFIX + self.name)
        self._entry = entry
        self._manifest = manifest
        self._hash = hashlib.sha256()

    def read(self, n: int = -1) -> bytes:
        """At most n bytes, b"" at the end; a negative n reads the whole rest into memory.

        The read that meets the end verifies: it raises ArtifactError instead of returning the last bytes when the
        checksum does not match, and so does every read after it.
        """
        if n < 0:
            return b"".join(iter(lambda: self.read(CHUNK), b""))
        data = self._entry.read(n)
        self._hash.update(data)
        if self._entry.remaining == 0:
            self._manifest.verify(DATA_PREFIX + self.name, self._hash.hexdigest())
        return data

    def drain(self) -> None:
        """Read and drop the rest, and verify."""
        while self.read(CHUNK):
            pass


class Payload:
    """The part of an artifact behind its header, not read yet."""

    def __init__(self, outer: TarReader, manifest: Manifest, *, optional: bool = False) -> None:
        """`optional` allows the payload tar to be absent, as it may be where no payload type is stated."""
        self._outer = outer
        self._optional = optional
        self._manifest = manifest
        self._taken = False

    def files(self) -> Iterator[PayloadFile]:
        """The files in order, once. Only an iteration that reaches its end has verified the whole artifact.

        Raises ArtifactError; RuntimeError when asked for a second time.
        """
        if self._taken:
            raise RuntimeError("the payload has already been read")
        self._taken = True
        return self._read()

    def _read(self) -> Iterator[PayloadFile]:
        seen: set[str] = set()
        for entry in self._entries():
            if entry.name in seen:
                raise ArtifactError(f"the payload holds {shown(entry.name)} twice")
            file = PayloadFile(entry, self._manifest)
            seen.add(file.name)
            yield file
            file.drain()
        for name in self._manifest.payload_files():
            if name not in seen:
                raise ArtifactError(f"the manifest lists the payload file {shown(name)}, which the artifact lacks")
        _expect_end(self._outer)

    def _entries(self) -> Iterator[TarEntry]:
        entry = self._outer.next_entry()
        if entry is None:
            if self._optional:
                return
            raise ArtifactError("the artifact has no payload tar")
        compression = Compression.of(entry.name, "data/0000.tar")
        if compression is None:
            raise ArtifactError(f"the artifact has {shown(entry.name)} where its payload tar belongs")
        inner = TarReader(decompressed(entry, compression, "the payload"), "the payload tar")
        while (file := inner.next_entry()) is not None:
            yield file


def _expect_end(outer: TarReader) -> None:
    extra = outer.next_entry()
    if extra is None:
        return
    if extra.name.startswith("data/"):
        raise UnsupportedFeature(f"the artifact has a second payload, {shown(extra.name)}; exactly one is supported")
    raise ArtifactError(f"the artifact has the unknown entry {shown(extra.name)}")
