# SPDX-License-Identifier: Apache-2.0
"""zstd streams: frames one after another read as one, everything else refused with its own sentence."""

import io
import random
import subprocess
import sys
from pathlib import Path

import pytest
import zstandard

from updater.artifact import ArtifactError, Compression, UnsupportedFeature
from updater.artifact.compression import decompressed

CONTENT = random.Random(11).randbytes(200_000) + bytes(400_000) + random.Random(12).randbytes(1000)
SKIPPABLE = b"\x5a\x2a\x4d\x18" + (5).to_bytes(4, "little") + b"notes"


class Trickle:
    """A source that gives few bytes at a time."""

    def __init__(self, content: bytes, step: int) -> None:
        self._inner = io.BytesIO(content)
        self._step = step

    def read(self, n: int, /) -> bytes:
        return self._inner.read(min(n, self._step))


def plain(raw: bytes, ask: int = 50_000, step: int = 1 << 20) -> bytes:
    source = decompressed(Trickle(raw, step), Compression.ZSTD, "the payload")
    return b"".join(iter(lambda: source.read(ask), b""))


def frame(content: bytes = CONTENT, level: int = 3, **options: bool) -> bytes:
    return zstandard.ZstdCompressor(level=level, **options).compress(content)  # type: ignore[arg-type]


def streamed(content: bytes = CONTENT, **options: bool) -> bytes:
    """A frame that does not state its size."""
    compressor = zstandard.ZstdCompressor(**options).compressobj()  # type: ignore[arg-type]
    return compressor.compress(content) + compressor.flush()


def header(descriptor: int, rest: bytes) -> bytes:
    return b"\x28\xb5\x2f\xfd" + bytes([descriptor]) + rest + b"\1\0\0"


WHOLE = frame(write_checksum=True)


@pytest.mark.parametrize(
    "raw",
    [
        frame(),
        frame(level=19),
        frame(write_checksum=True),
        frame(write_content_size=False),
        streamed(),
        streamed(write_checksum=True),
        frame(CONTENT[:100]) + frame(CONTENT[100:70_000]) + streamed(CONTENT[70_000:]),
        SKIPPABLE + frame() + SKIPPABLE,
        frame(b"") + frame() + frame(b""),
    ],
)
def test_frames_are_one_stream(raw: bytes) -> None:
    assert plain(raw) == CONTENT
    assert plain(raw, ask=1_000_000, step=77) == CONTENT


def test_small_frames_of_every_size_of_size() -> None:
    for size in (0, 1, 255, 256, 257, 65_791, 65_792):
        assert plain(frame(CONTENT[:size])) == CONTENT[:size]


@pytest.mark.parametrize(
    ("raw", "sentence"),
    [
        (b"", "the payload is truncated"),
        (SKIPPABLE, "the payload is truncated"),
        (SKIPPABLE[:-1], "the payload is truncated"),
        (WHOLE[:3], "the payload is truncated"),
        (WHOLE[:-1], "the payload is truncated"),
        (WHOLE + b"x", "the payload is truncated"),
        (WHOLE + b"rubbish", "bytes after the end of its compressed stream"),
        (WHOLE + bytes(4), "bytes after the end of its compressed stream"),
        (b"rubbish", "cannot be decompressed (no zstd frame)"),
        (b"\x27" + WHOLE[1:], "cannot be decompressed (no zstd frame)"),
        (WHOLE[:-1] + bytes([WHOLE[-1] ^ 1]), "cannot be decompressed"),
        (WHOLE[:100_000] + bytes([WHOLE[100_000] ^ 1]) + WHOLE[100_001:], "cannot be decompressed"),
        (header(0x08, b"\x38"), "a reserved bit is set"),
        (header(0x00, b"\x38")[:-3] + b"\7\0\0", "a block header is malformed"),
        (header(0x00, b"\x38")[:-3] + b"\xfd\xff\xff", "a block header is malformed"),
    ],
)
def test_damage_is_refused(raw: bytes, sentence: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        plain(raw)
    assert sentence in str(caught.value)


def test_windows_are_bounded() -> None:
    # Exponent 17 is 128 MiB, and each step of the mantissa is an eighth more.
    assert plain(header(0x00, bytes([17 << 3]))) == b""
    for raw in (header(0x00, bytes([17 << 3 | 1])), header(0xE0, ((128 << 20) + 1).to_bytes(8, "little"))):
        with pytest.raises(ArtifactError, match="demands a zstd window larger than 134217728 bytes"):
            plain(raw)


def test_dictionaries_are_not_supported() -> None:
    with pytest.raises(UnsupportedFeature, match="dictionary"):
        plain(header(0x01, b"\x38\7"))


def test_a_read_of_nothing_reads_nothing() -> None:
    assert decompressed(io.BytesIO(b""), Compression.ZSTD, "the payload").read(0) == b""


def test_without_the_library_the_refusal_names_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "zstandard", None)
    with pytest.raises(UnsupportedFeature, match="zstandard is missing"):
        plain(frame())


def test_the_library_is_loaded_only_when_it_is_needed() -> None:
    code = (
        "import io, sys, updater.artifact; from updater.artifact.compression import Compression, decompressed; "
        "decompressed(io.BytesIO(b''), Compression.GZIP, 'x'); assert 'zstandard' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
