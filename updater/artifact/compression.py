# SPDX-License-Identifier: Apache-2.0
"""The compressions of the inner tars, by file name suffix (none, gzip, xz, zstd), and reading them as streams.

A compressed stream must be exactly one whole stream: truncation, a failing checksum and bytes after its end are
refused. Only zstd, whose writers do so, may divide its stream into frames.

While a stream is read, spots are found from which it can be read anew: everywhere without compression, behind a flush
in gzip, before a frame in zstd, and nowhere in xz, whose writers make one block that needs all that came before.
"""

import zlib
from enum import Enum
from typing import Protocol

from updater.artifact.errors import ArtifactError
from updater.artifact.restart import BEGIN, WINDOW, FlushPoints, Spot, Spots

CHUNK = 64 * 1024
"""Bytes asked of a source at once."""
_TRAILER = 8
XZ_MEMORY_LIMIT = 96 * 1024 * 1024
"""Memory an xz stream may demand; mender-artifact writes 64 MiB dictionaries."""


class ByteSource(Protocol):
    """Anything bytes can be read from: at most n at a time, b"" at the end."""

    def read(self, n: int, /) -> bytes: ...


class PlainSource(ByteSource, Protocol):
    """The plain bytes of a stream, and where it can be read anew."""

    def spot(self, limit: int) -> Spot | None:
        """The last known spot with at most `limit` plain bytes, which have been read already, before it."""


class Compression(Enum):
    """How an inner tar is compressed; the value is the suffix of its name in the artifact."""

    NONE = ""
    GZIP = ".gz"
    XZ = ".xz"
    ZSTD = ".zst"

    @property
    def suffix(self) -> str:
        return self.value

    @property
    def window(self) -> int:
        """Plain bytes before a spot that are needed to read on from it."""
        return WINDOW if self is Compression.GZIP else 0

    @classmethod
    def of(cls, name: str, stem: str) -> "Compression | None":
        """The compression of the entry `name`, or None when it is not `stem` plus a suffix."""
        return next((one for one in cls if name == stem + one.suffix), None)


class _Inflater(Protocol):
    """What zlib and lzma have in common once their differences in taking input are hidden."""

    @property
    def eof(self) -> bool: ...

    @property
    def unused_data(self) -> bytes: ...

    @property
    def hungry(self) -> bool: ...

    def feed(self, data: bytes, limit: int) -> bytes: ...


class _Gzip:
    """One member, or the rest of one.

    The checksum at a member's end cannot be checked without having seen its beginning. So of a rest only the length
    is checked, and it is for the manifest's SHA-256, taken over the whole file, to vouch for the content.
    """

    def __init__(self, spots: Spots, window: bytes) -> None:
        self.hungry = True
        self._points = FlushPoints(spots, window)
        self._trailer = 0 if spots.start == BEGIN else _TRAILER
        self._inner = zlib.decompressobj(31) if spots.start == BEGIN else zlib.decompressobj(-15, zdict=window)
        self._dry = True
        self._rest = b""
        self._after = b""

    @property
    def eof(self) -> bool:
        return self._inner.eof and len(self._after) >= self._trailer

    @property
    def unused_data(self) -> bytes:
        return self._after[self._trailer :]

    def feed(self, data: bytes, limit: int) -> bytes:
        if self._inner.eof:
            self._end(data)
            return b""
        piece = self._piece(data) if self._dry else self._inner.unconsumed_tail
        out = self._inner.decompress(piece, limit)
        # A full answer may leave output waiting inside even when all input is taken.
        self._dry = not self._inner.unconsumed_tail and len(out) < limit
        self._points.given(out, dry=self._dry)
        self.hungry = self._dry and not self._rest
        if self._inner.eof:
            self._end(self._inner.unused_data + self._rest)
        return out

    def _piece(self, data: bytes) -> bytes:
        data = self._rest or data
        end = self._points.taken(data)
        self._rest = data[end:]
        return data[:end]

    def _end(self, data: bytes) -> None:
        self.hungry = True
        self._after += data
        if self._trailer and self.eof:
            length = int.from_bytes(self._after[_TRAILER - 4 : _TRAILER], "little")
            if length != self._points.plain % (1 << 32):
                raise zlib.error("its length is not what it states")


class _Xz:
    def __init__(self) -> None:
        import lzma  # most artifacts do not need this library

        self._error = lzma.LZMAError
        self._inner = lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=XZ_MEMORY_LIMIT)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    @property
    def hungry(self) -> bool:
        return self._inner.needs_input

    def feed(self, data: bytes, limit: int) -> bytes:
        try:
            return self._inner.decompress(data, limit)
        except self._error as error:
            raise zlib.error(str(error)) from error


class _Decompressed:
    """The decompressed view of a source; reads ask for input only as output is needed."""

    def __init__(self, source: ByteSource, inflater: _Inflater, spots: Spots, what: str) -> None:
        self._source = source
        self._spots = spots
        self._inflater = inflater
        self._what = what

    def read(self, n: int, /) -> bytes:
        while n > 0 and not self._inflater.eof:
            data = b""
            if self._inflater.hungry:
                data = self._source.read(CHUNK)
                if not data:
                    raise ArtifactError(f"{self._what} is truncated")
            try:
                out = self._inflater.feed(data, n)
            except zlib.error as error:
                raise ArtifactError(f"{self._what} cannot be decompressed ({error})") from error
            if out:
                return out
        if n > 0 and (self._inflater.unused_data or self._source.read(1)):
            raise ArtifactError(f"{self._what} has bytes after the end of its compressed stream")
        return b""

    def spot(self, limit: int) -> Spot | None:
        return self._spots.latest(limit)


class _Uncompressed:
    def __init__(self, source: ByteSource) -> None:
        self.read = source.read

    def spot(self, limit: int) -> Spot | None:
        return Spot(limit, limit)


def decompressed(
    source: ByteSource, compression: Compression, what: str, spots: Spots | None = None, window: bytes = b""
) -> PlainSource:
    """The plain bytes of `source`; `what` names it in errors. Reads raise ArtifactError.

    `spots` takes what is found on the way. With a start other than the stream's own, the source delivers what follows
    that spot, and `window` is the plain text before it, as much as the compression's `window` says. Raises
    ArtifactError where there can be no such start.
    """
    spots = spots or Spots()
    if compression is Compression.NONE:
        return _Uncompressed(source)
    if compression is Compression.ZSTD:
        from updater.artifact.zstd import ZstdSource

        return ZstdSource(source, spots, what)
    if compression is Compression.GZIP:
        return _Decompressed(source, _Gzip(spots, window), spots, what)
    if spots.start != BEGIN:
        raise ArtifactError(f"{what} is compressed with xz, which cannot be read from its middle")
    return _Decompressed(source, _Xz(), spots, what)
