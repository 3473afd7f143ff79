# SPDX-License-Identifier: Apache-2.0
"""The compressions of the inner tars, by file name suffix (none, gzip, xz, zstd), and reading them as streams.

A compressed stream must be exactly one whole stream: truncation, a failing checksum and bytes after its end are
refused. Only zstd, whose writers do so, may divide its stream into frames.
"""

import zlib
from enum import Enum
from typing import Protocol

from updater.artifact.errors import ArtifactError

CHUNK = 64 * 1024
"""Bytes asked of a source at once."""
XZ_MEMORY_LIMIT = 96 * 1024 * 1024
"""Memory an xz stream may demand; mender-artifact writes 64 MiB dictionaries."""


class ByteSource(Protocol):
    """Anything bytes can be read from: at most n at a time, b"" at the end."""

    def read(self, n: int, /) -> bytes: ...


class Compression(Enum):
    """How an inner tar is compressed; the value is the suffix of its name in the artifact."""

    NONE = ""
    GZIP = ".gz"
    XZ = ".xz"
    ZSTD = ".zst"

    @property
    def suffix(self) -> str:
        return self.value

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
    hungry = True

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(wbits=31)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def feed(self, data: bytes, limit: int) -> bytes:
        out = self._inner.decompress(self._inner.unconsumed_tail + data, limit)
        # A full answer may leave output waiting inside even when all input is taken.
        self.hungry = not self._inner.unconsumed_tail and len(out) < limit
        return out


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

    def __init__(self, source: ByteSource, inflater: _Inflater, what: str) -> None:
        self._source = source
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


def decompressed(source: ByteSource, compression: Compression, what: str) -> ByteSource:
    """The plain bytes of `source`; `what` names it in errors. Reads raise ArtifactError."""
    if compression is Compression.NONE:
        return source
    if compression is Compression.ZSTD:
        from updater.artifact.zstd import ZstdSource

        return ZstdSource(source, what)
    return _Decompressed(source, _Gzip() if compression is Compression.GZIP else _Xz(), what)
