# SPDX-License-Identifier: Apache-2.0
"""The payload: its files, streamed in order, each held against its checksum in the manifest.

Refused: files the manifest does not list, listed files that never come, a second payload, unknown entries, and an
artifact that does not end properly.
"""

import hashlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

from updater.artifact.compression import CHUNK, ByteSource, Compression, PlainSource, decompressed
from updater.artifact.errors import ArtifactError, UnsupportedFeature
from updater.artifact.header import ROOTFS_IMAGE
from updater.artifact.manifest import DATA_PREFIX, Manifest
from updater.artifact.names import check_file_name, shown
from updater.artifact.restart import RestartPoint, Spot, Spots
from updater.artifact.tarstream import TarEntry, TarReader

Content = Callable[[int, int], bytes]
"""Gives what is durable of a payload file: from a byte on, at most so many bytes."""

_Restart = Callable[[TarEntry, int], RestartPoint | None]
_ARTIFACT, _PAYLOAD, _TAR = "the artifact", "the payload", "the payload tar"


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

    def __init__(
        self, entry: TarEntry, manifest: Manifest, restart: _Restart, digest: "hashlib._Hash | None" = None
    ) -> None:
        """`digest` has seen what comes before the place at which the entry is read on."""
        self.name = check_file_name(entry.name)
        self.size = entry.size
        self.modified = entry.modified
        self.checksum = manifest.checksum(DATA_PREFIX + self.name)
        self._entry = entry
        self._manifest = manifest
        self._restart = restart
        self._hash = hashlib.sha256() if digest is None else digest

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

    def restart_point(self, durable: int | None = None) -> RestartPoint | None:
        """The last point from which reading can go on for whoever has the first `durable` bytes (all that were read).

        None if there is none yet, and always in xz, where an interrupted download begins anew, and where there are
        several files.
        """
        done = self.size - self._entry.remaining
        return self._restart(self._entry, done if durable is None else min(done, durable))


@dataclass(frozen=True)
class _PayloadTar:
    """The payload tar: where the artifact holds it, and how it is read up to the first of its files."""

    outer: TarReader
    packed: TarEntry
    compression: Compression
    plain: PlainSource
    inner: TarReader
    first: TarEntry | None

    def resumed(self, stream: ByteSource, first: TarEntry, spots: Spots, window: bytes) -> "_PayloadTar":
        """The same, with its only file `first` read on from the spots' start, at which `stream` begins."""
        outer = TarReader(stream, _ARTIFACT)
        packed = outer.within(self.packed, spots.start.packed)
        plain = decompressed(packed, self.compression, _PAYLOAD, spots, window)
        inner = TarReader(plain, _TAR)
        rest = inner.within(first, spots.start.plain - first.start)
        return _PayloadTar(outer, packed, self.compression, plain, inner, rest)


class Payload:
    """The part of an artifact behind its header, not read yet."""

    def __init__(
        self,
        outer: TarReader,
        manifest: Manifest,
        *,
        identity: str,
        restart_every: int | None = None,
        optional: bool = False,
    ) -> None:
        """`identity` is the SHA-256 of the manifest's bytes; `optional` allows the payload tar to be absent, as it
        may be where no payload type is stated; `restart_every` is as in read_artifact.
        """
        self._outer = outer
        self._optional = optional
        self._manifest = manifest
        self._identity = identity
        self._single = len(manifest.payload_files()) == 1
        self._every = restart_every if self._single else None
        self._opened: _PayloadTar | None = None
        self._taken = False

    def files(self) -> Iterator[PayloadFile]:
        """The files in order, once. Only an iteration that reaches its end has verified the whole artifact.

        Raises ArtifactError; RuntimeError when asked for a second time.
        """
        if self._taken:
            raise RuntimeError("the payload has already been read")
        self._taken = True
        return self._read()

    def resumed(self, point: RestartPoint, stream: ByteSource, content: Content) -> Iterator[PayloadFile]:
        """The one file, read on from `point`; see Artifact.resumed."""
        if point.manifest != self._identity:
            raise ArtifactError("the restart point belongs to another artifact")
        tar = self._open() if self._single else None
        if tar is None or tar.first is None:
            raise ArtifactError("the artifact does not have the one file that the restart point belongs to")
        spot = Spot(point.place - tar.packed.start, tar.first.start + point.done)
        window = tar.compression.window
        if not window <= point.done <= tar.first.size or not 0 <= spot.packed <= tar.packed.size:
            raise ArtifactError("the restart point lies outside of the payload")
        before = b"".join(_pieces(content, point.done - window, point.done))
        rest = tar.resumed(stream, tar.first, Spots(self._every, spot), before)
        digest = hashlib.sha256()
        for piece in _pieces(content, 0, point.done):
            digest.update(piece)
        yield from self._verified(rest, digest)

    def _read(self) -> Iterator[PayloadFile]:
        tar = self._open()
        if tar is not None:
            yield from self._verified(tar)

    def _open(self) -> _PayloadTar | None:
        """The payload tar up to its first file; None when there is none and none is needed."""
        if self._opened is not None:
            return self._opened
        packed = self._outer.next_entry()
        if packed is None:
            if self._optional:
                return None
            raise ArtifactError("the artifact has no payload tar")
        compression = Compression.of(packed.name, "data/0000.tar")
        if compression is None:
            raise ArtifactError(f"the artifact has {shown(packed.name)} where its payload tar belongs")
        plain = decompressed(packed, compression, _PAYLOAD, Spots(self._every))
        inner = TarReader(plain, _TAR)
        self._opened = _PayloadTar(self._outer, packed, compression, plain, inner, inner.next_entry())
        return self._opened

    def _verified(self, tar: _PayloadTar, digest: "hashlib._Hash | None" = None) -> Iterator[PayloadFile]:
        seen: set[str] = set()
        entry = tar.first
        while entry is not None:
            if entry.name in seen:
                raise ArtifactError(f"the payload holds {shown(entry.name)} twice")
            file = PayloadFile(entry, self._manifest, partial(self._point, tar), digest)
            seen.add(file.name)
            yield file
            file.drain()
            entry, digest = tar.inner.next_entry(), None
        for name in self._manifest.payload_files():
            if name not in seen:
                raise ArtifactError(f"the manifest lists the payload file {shown(name)}, which the artifact lacks")
        _expect_end(tar.outer)

    def _point(self, tar: _PayloadTar, entry: TarEntry, done: int) -> RestartPoint | None:
        """The last point with at most `done` bytes of the only file before it."""
        spot = tar.plain.spot(entry.start + done) if self._single else None
        # A window that reaches back beyond the file could not be had again, and nothing is saved so early.
        if spot is None or spot.plain - entry.start < max(tar.compression.window, 1):
            return None
        return RestartPoint(self._identity, tar.packed.start + spot.packed, spot.plain - entry.start)


def _pieces(content: Content, start: int, end: int) -> Iterator[bytes]:
    while start < end:
        piece = content(start, min(CHUNK, end - start))
        if not piece:
            raise ArtifactError(f"the payload file ends at byte {start}, before the restart point")
        yield piece
        start += len(piece)


def _expect_end(outer: TarReader) -> None:
    extra = outer.next_entry()
    if extra is None:
        return
    if extra.name.startswith("data/"):
        raise UnsupportedFeature(f"the artifact has a second payload, {shown(extra.name)}; exactly one is supported")
    raise ArtifactError(f"the artifact has the unknown entry {shown(extra.name)}")
