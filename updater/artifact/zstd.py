# SPDX-License-Identifier: Apache-2.0
"""Reading zstd: frames one after another as one stream (RFC 8878), in constant memory.

The library answers a piece of input with all the output it stands for, which a bomb would make unbounded, and does
not say whether a frame is whole. So the frames are walked here, block by block: a block is at most 128 KiB on either
side, and the end of the input is legal only between two frames.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from updater.artifact.compression import CHUNK, ByteSource
from updater.artifact.errors import ArtifactError, UnsupportedFeature
from updater.artifact.restart import Spot, Spots

MAX_WINDOW = 128 * 1024 * 1024
"""Bytes of earlier output a frame may refer to, hence the memory it may demand."""
MAX_BLOCK = 128 * 1024
"""Bytes of one block, compressed or not; the format allows no more."""

_MAGIC = 0xFD2FB528
_SKIPPABLE = 0x184D2A5
_RLE, _RESERVED = 1, 3
_DICTIONARY_BYTES = (0, 1, 2, 4)
_CHECKSUM_BYTES = 4


@dataclass(frozen=True)
class _Frame:
    """A frame's header: its bytes, the window it demands in bytes, and whether a checksum ends it."""

    raw: bytes
    window: int
    dictionary: int
    checksum: bool


class ZstdSource:
    """The decompressed view of a zstd source; reads raise ArtifactError, in which `what` names the stream.

    Every frame begins anew, so its beginning is a spot that needs no proof.
    """

    def __init__(self, source: ByteSource, spots: Spots, what: str) -> None:
        try:
            import zstandard  # most artifacts do not need this library
        except ImportError as error:
            raise UnsupportedFeature(
                f"{what} is compressed with zstd, for which Python's zstandard is missing"
            ) from error
        self._source = source
        self._spots = spots
        self._packed, self._plain = spots.start.packed, spots.start.plain
        self._what = what
        self._error = zstandard.ZstdError
        self._library: Any = zstandard.ZstdDecompressor(max_window_size=MAX_WINDOW)
        self._input = bytearray()
        self._output = memoryview(b"")
        self._feed: Callable[[bytes], bytes] | None = None
        self._frame = _Frame(b"", 0, 0, False)
        self._frames = 0

    def read(self, n: int, /) -> bytes:
        """At most n bytes, b"" at the end."""
        while n > 0 and not self._output:
            if self._feed is None and not self._next_frame():
                return b""
            if self._feed is not None:
                self._output = memoryview(self._next_block(self._feed))
        out, self._output = bytes(self._output[:n]), self._output[n:]
        self._plain += len(out)
        return out

    def spot(self, limit: int) -> Spot | None:
        """See PlainSource."""
        return self._spots.latest(limit)

    def _next_frame(self) -> bool:
        """Begin the next frame, or pass one that is to be skipped; False at the end of the input."""
        if not self._available():
            if not self._frames:
                raise ArtifactError(f"{self._what} is truncated")
            return False
        magic = self._take(4)
        number = int.from_bytes(magic, "little")
        if number >> 4 == _SKIPPABLE:
            self._skip(int.from_bytes(self._take(4), "little"))
            return True
        if number != _MAGIC:
            after = "has bytes after the end of its compressed stream" if self._frames else "cannot be decompressed"
            raise ArtifactError(f"{self._what} {after} (no zstd frame)")
        if self._spots.wanted(self._plain):
            self._spots.add(Spot(self._packed - len(magic), self._plain))
        self._frames += 1
        self._frame = self._frame_header(magic)
        self._feed = self._library.decompressobj().decompress
        self._decoded(self._feed, self._frame.raw)
        return True

    def _frame_header(self, magic: bytes) -> _Frame:
        raw = bytearray(magic + self._take(1))
        flags = raw[4]
        single = bool(flags & 0x20)
        if flags & 0x08:
            raise self._malformed("a reserved bit is set")
        window = 0
        if not single:
            raw += self._take(1)
            base = 1 << (10 + (raw[5] >> 3))
            window = base + base // 8 * (raw[5] & 7)
        dictionary = self._take(_DICTIONARY_BYTES[flags & 3])
        # The size is stated in 1, 2, 4 or 8 bytes; none at all unless the frame is a single segment.
        size = self._take(1 << (flags >> 6) if flags >> 6 or single else 0)
        if single:
            window = int.from_bytes(size, "little") + (256 if len(size) == 2 else 0)
        raw += dictionary + size
        frame = _Frame(bytes(raw), window, int.from_bytes(dictionary, "little"), bool(flags & 0x04))
        if frame.window > MAX_WINDOW:
            raise ArtifactError(f"{self._what} demands a zstd window larger than {MAX_WINDOW} bytes")
        if frame.dictionary:
            raise UnsupportedFeature(f"{self._what} was compressed with a zstd dictionary, which is not supported")
        return frame

    def _next_block(self, feed: Callable[[bytes], bytes]) -> bytes:
        head = self._take(3)
        word = int.from_bytes(head, "little")
        last, kind, size = word & 1, word >> 1 & 3, word >> 3
        if kind == _RESERVED or size > MAX_BLOCK:
            raise self._malformed("a block header is malformed")
        out = self._decoded(feed, head + self._take(1 if kind == _RLE else size))
        if last:
            if self._frame.checksum:
                out += self._decoded(feed, self._take(_CHECKSUM_BYTES))
            self._feed = None
        return out

    def _decoded(self, feed: Callable[[bytes], bytes], piece: bytes) -> bytes:
        try:
            return feed(piece)
        except self._error as error:
            raise self._malformed(str(error)) from error

    def _malformed(self, why: str) -> ArtifactError:
        return ArtifactError(f"{self._what} cannot be decompressed ({why})")

    def _available(self) -> bool:
        """Whether there is another byte of input."""
        if not self._input:
            self._input += self._source.read(CHUNK)
        return bool(self._input)

    def _take(self, size: int) -> bytes:
        while len(self._input) < size:
            data = self._source.read(CHUNK)
            if not data:
                raise ArtifactError(f"{self._what} is truncated")
            self._input += data
        taken = bytes(self._input[:size])
        del self._input[:size]
        self._packed += size
        return taken

    def _skip(self, size: int) -> None:
        while size:
            step = min(size, CHUNK)
            self._take(step)
            size -= step
