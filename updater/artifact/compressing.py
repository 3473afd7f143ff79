# SPDX-License-Identifier: Apache-2.0
"""Compressing a stream, with or without points where reading can begin anew.

The same input gives the same bytes: no time and no name go into a stream, and no thread decides where it is divided.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, BinaryIO, Protocol

from updater.artifact.compression import Compression

ZSTD_LEVELS = range(1, 23)
DEFLATE_LEVELS = range(10)


class ByteSink(Protocol):
    """Anything bytes can be written to, all of them at once."""

    def write(self, data: bytes, /) -> object: ...


class _Compressor(ByteSink, Protocol):
    def restart(self) -> None:
        """Make what follows readable without what came before."""

    def close(self) -> None:
        """End the stream; the sink stays open."""


class _Plain:
    """No compression: reading can begin anywhere."""

    def __init__(self, out: ByteSink) -> None:
        self.write = out.write

    def restart(self) -> None:
        pass

    def close(self) -> None:
        pass


class _Gzip:
    """One member; a full flush forgets what came before and ends at a whole byte."""

    def __init__(self, out: BinaryIO, level: int | None) -> None:
        import gzip

        self._file = gzip.GzipFile("", "wb", 9 if level is None else level, out, mtime=0)
        self.write = self._file.write
        self.close = self._file.close

    def restart(self) -> None:
        import zlib

        self._file.flush(zlib.Z_FULL_FLUSH)


class _Xz:
    def __init__(self, out: BinaryIO, level: int | None) -> None:
        import lzma

        file = lzma.LZMAFile(out, "wb", preset=level)  # noqa: SIM115 (closed by close)
        self.write = file.write
        self.close = file.close

    def restart(self) -> None:
        raise ValueError("an xz stream cannot be read from its middle")


class _Zstd:
    """Frames one after another, each readable alone."""

    def __init__(self, out: ByteSink, level: int | None) -> None:
        import zstandard

        self._out = out
        self._compressor = zstandard.ZstdCompressor(level=3 if level is None else level, write_checksum=True)
        self._frame: Any = self._compressor.compressobj()

    def write(self, data: bytes, /) -> object:
        if self._frame is None:
            self._frame = self._compressor.compressobj()
        return self._out.write(self._frame.compress(data))

    def restart(self) -> None:
        if self._frame is not None:
            self._out.write(self._frame.flush())
        self._frame = None

    close = restart


class _Restarting:
    """A sink that restarts its compressor at every multiple of `every` bytes of input."""

    def __init__(self, compressor: _Compressor, every: int) -> None:
        self._compressor = compressor
        self._every = every
        self._left = every

    def write(self, data: bytes, /) -> None:
        rest = memoryview(data)
        while rest:
            # The restart waits for the next byte, so that no stream ends with one.
            if not self._left:
                self._compressor.restart()
                self._left = self._every
            piece, rest = rest[: self._left], rest[self._left :]
            self._compressor.write(bytes(piece))
            self._left -= len(piece)


def check_level(compression: Compression, level: int | None) -> None:
    """Raise ValueError unless the compressor knows this level; None is its default."""
    levels = ZSTD_LEVELS if compression is Compression.ZSTD else DEFLATE_LEVELS
    if level is not None and level not in levels:
        raise ValueError(f"a compression level from {levels[0]} to {levels[-1]} is needed, not {level}")


@contextmanager
def compressing(
    out: BinaryIO, compression: Compression, level: int | None, restart_every: int | None = None
) -> Iterator[ByteSink]:
    """A sink that compresses into `out` and, on leaving, ends the stream but leaves `out` open.

    `level` is the compressor's own: 0..9 (by default 9 for gzip, 6 for xz), for zstd 1..22 (3). `restart_every` is a
    distance in bytes of input at whose multiples a reader that kept only the position can begin anew: a full flush
    in gzip, a new frame in zstd. Raises ValueError for a level or a distance the compression does not have.
    """
    check_level(compression, level)
    if restart_every is not None and (restart_every < 1 or compression is Compression.XZ):
        raise ValueError("points to begin anew need gzip or zstd and a distance of at least one byte")
    compressor = _compressor(out, compression, level)
    try:
        yield compressor if restart_every is None else _Restarting(compressor, restart_every)
    finally:
        compressor.close()


def _compressor(out: BinaryIO, compression: Compression, level: int | None) -> _Compressor:
    if compression is Compression.GZIP:
        return _Gzip(out, level)
    if compression is Compression.XZ:
        return _Xz(out, level)
    if compression is Compression.ZSTD:
        return _Zstd(out, level)
    return _Plain(out)
