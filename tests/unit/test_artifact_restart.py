# SPDX-License-Identifier: Apache-2.0
"""Points in a compressed payload where reading can begin anew, and that nobody else is troubled by them."""

import gzip
import io
import random
import subprocess
import zlib
from pathlib import Path

import pytest
import zstandard

from tests.unit.mender_tool import tool
from updater.artifact import Compression, read_artifact, write_rootfs_artifact
from updater.artifact.compressing import compressing

CONTENT = random.Random(21).randbytes(60_000) + bytes(90_000) + random.Random(22).randbytes(60_001)
EVERY = 50_000


def compressed(compression: Compression, restart_every: int | None, step: int = 7000) -> bytes:
    out = io.BytesIO()
    with compressing(out, compression, None, restart_every) as sink:
        for at in range(0, len(CONTENT), step):
            sink.write(CONTENT[at : at + step])
    return out.getvalue()


def gzip_points(raw: bytes) -> list[int]:
    """Where, in compressed bytes, a reader that knows nothing of what came before can go on."""
    points, at = [], 0
    while (at := raw.find(b"\0\0\xff\xff", at) + 4) >= 4:
        tail = zlib.decompressobj(-15)
        try:
            tail.decompress(raw[at:])
        except zlib.error:
            continue
        if tail.eof:
            points.append(at)
    return points


def test_gzip_goes_on_from_every_point() -> None:
    raw = compressed(Compression.GZIP, EVERY)
    assert gzip.decompress(raw) == CONTENT
    assert subprocess.run(["gzip", "-dc"], input=raw, capture_output=True, check=True).stdout == CONTENT
    points = gzip_points(raw)
    assert len(points) == len(CONTENT) // EVERY
    for number, point in enumerate(points, 1):
        assert zlib.decompress(raw[point:-8], -15) == CONTENT[number * EVERY :]
    # It is one member still.
    assert raw.count(b"\x1f\x8b\x08\0\0\0\0\0") == 1


def test_zstd_has_a_frame_for_every_point() -> None:
    raw = compressed(Compression.ZSTD, EVERY)
    reader = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(raw), read_across_frames=True)
    assert reader.read(len(CONTENT) + 1) == CONTENT
    points = [at for at in range(len(raw)) if raw.startswith(b"\x28\xb5\x2f\xfd", at)]
    assert len(points) == len(CONTENT) // EVERY + 1
    for number, point in enumerate(points):
        piece = zstandard.ZstdDecompressor().decompressobj().decompress(raw[point:])
        assert piece == CONTENT[number * EVERY : (number + 1) * EVERY]


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
@pytest.mark.parametrize("every", [1, len(CONTENT) - 1, len(CONTENT), len(CONTENT) + 1])
def test_points_do_not_depend_on_how_the_input_comes(compression: Compression, every: int) -> None:
    if every == 1:
        every = 997
    assert compressed(compression, every, step=1_000_000) == compressed(compression, every, step=999)


def test_no_stream_ends_with_a_point() -> None:
    raw = compressed(Compression.ZSTD, len(CONTENT))
    assert raw == compressed(Compression.ZSTD, None)
    assert compressed(Compression.GZIP, len(CONTENT)) == compressed(Compression.GZIP, None)


@pytest.mark.parametrize(
    ("compression", "every"), [(Compression.XZ, 1000), (Compression.GZIP, 0), (Compression.ZSTD, -1)]
)
def test_points_that_cannot_be(compression: Compression, every: int) -> None:
    with pytest.raises(ValueError, match="points to begin anew"), compressing(io.BytesIO(), compression, None, every):
        pass


@pytest.mark.parametrize(
    ("compression", "level"), [(Compression.GZIP, 10), (Compression.ZSTD, 0), (Compression.XZ, -1)]
)
def test_levels_that_cannot_be(compression: Compression, level: int) -> None:
    with pytest.raises(ValueError, match="a compression level from"), compressing(io.BytesIO(), compression, level):
        pass


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.ZSTD])
def test_an_artifact_with_points_is_read(tmp_path: Path, compression: Compression) -> None:
    image, path = tmp_path / "image.ext4", tmp_path / "a.mender"
    image.write_bytes(CONTENT)
    with path.open("wb") as out:
        write_rootfs_artifact(
            out, image=image, name="r", device_types=["q"], compression=compression, restart_every=EVERY
        )
    [content] = [file.read() for file in read_artifact(io.BytesIO(path.read_bytes())).files()]
    assert content == CONTENT
    if compression is Compression.GZIP:
        assert "validated successfully" in tool("validate", path)
