# SPDX-License-Identifier: Apache-2.0
"""Reading on from the middle: the same bytes as without a break, or ArtifactError, and nothing else."""

import hashlib
import io
import random
import tracemalloc
import zlib
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.unit.artifact_parts import Parts, tar
from tests.unit.mender_tool import tool
from updater.artifact import ArtifactError, Compression, RestartPoint, read_artifact, write_rootfs_artifact
from updater.artifact import restart as restart_module

RANDOM = random.Random(31)
TEXT = b"".join(RANDOM.choice([b"alpha ", b"beta ", b"gamma\n", b"delta "]) for _ in range(40_000))
CONTENT = RANDOM.randbytes(700_000) + bytes(150_000) + TEXT + RANDOM.randbytes(500_001)
EVERY, APART = 80_000, 150_000
MARKER = b"\0\0\xff\xff"
QUICK = settings(derandomize=True, deadline=None, max_examples=60)

Flushes = Callable[[bytes], bytes]


class Trickle:
    """A source that gives few bytes at a time."""

    def __init__(self, content: bytes, step: int) -> None:
        self._inner = io.BytesIO(content)
        self._step = step

    def read(self, n: int, /) -> bytes:
        return self._inner.read(min(n, self._step))


def flushed(every: int, mode: int = zlib.Z_SYNC_FLUSH, level: int = 6) -> Flushes:
    """gzip with a flush after every so many bytes; a sync flush forgets nothing of what came before."""

    def compress(plain: bytes) -> bytes:
        deflate = zlib.compressobj(level, wbits=31)
        pieces = [deflate.compress(plain[at : at + every]) + deflate.flush(mode) for at in range(0, len(plain), every)]
        return b"".join(pieces) + deflate.flush()

    return compress


def built(compress: Flushes = bytes, suffix: str = ".gz", content: bytes = CONTENT) -> bytes:
    """An artifact of one file, compressed so."""
    return Parts(
        data=[("image", content)],
        compress=compress,
        header_name=f"header.tar{suffix}",
        data_name=f"data/0000.tar{suffix}",
    ).build()


def written(folder: Path, compression: Compression, restart_every: int | None, content: bytes = CONTENT) -> bytes:
    image, out = folder / "image", io.BytesIO()
    image.write_bytes(content)
    write_rootfs_artifact(
        out, image=image, name="r", device_types=["q"], compression=compression, restart_every=restart_every
    )
    return out.getvalue()


def points_of(raw: bytes, *, every: int = EVERY, ask: int = 10_000, step: int = 1 << 20) -> list[RestartPoint]:
    """The points that a reader of the whole meets, each checked to lie in what was read."""
    found: list[RestartPoint] = []
    done = 0
    for file in read_artifact(Trickle(raw, step), restart_every=every).files():
        while piece := file.read(ask):
            done += len(piece)
            point = file.restart_point()
            if point is not None and point not in found[-1:]:
                assert point.done <= done
                found.append(point)
    return found


def read_on(
    raw: bytes, point: RestartPoint, content: bytes = CONTENT, rest: bytes | None = None, *, step: int = 1 << 20
) -> bytes:
    """The whole file, the part before the point as it was kept."""
    artifact = read_artifact(io.BytesIO(raw), restart_every=EVERY)
    stream = Trickle(raw[point.place :] if rest is None else rest, step)
    [end] = [file.read() for file in artifact.resumed(point, stream, lambda at, size: content[at : at + size])]
    return content[: point.done] + end


@pytest.fixture(scope="module")
def artifacts(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("artifacts")
    return {
        "none": written(folder, Compression.NONE, None),
        "full": written(folder, Compression.GZIP, APART),
        "sync": built(flushed(60_000)),
        "stored": built(flushed(60_000, level=0)),
        "zstd": written(folder, Compression.ZSTD, APART),
    }


KINDS = ["none", "full", "sync", "stored", "zstd"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("ask", "step"), [(10_000, 1 << 20), (1 << 20, 1 << 20), (999, 777), (70_001, 50)])
def test_from_every_point_the_file_is_the_same(artifacts: dict[str, bytes], kind: str, ask: int, step: int) -> None:
    raw = artifacts[kind]
    points = points_of(raw, ask=ask, step=step)
    assert len(points) >= (2 if ask == 1 << 20 else 5)
    assert [point.done for point in points] == sorted({point.done for point in points})
    for point in points[:: max(1, len(points) // 12)]:
        assert read_on(raw, point, step=step) == CONTENT


@pytest.mark.parametrize(("kind", "expected"), [("full", 9), ("zstd", 10)])
def test_no_point_is_missed(artifacts: dict[str, bytes], kind: str, expected: int) -> None:
    """Points that our writer makes; in gzip, the end may come before the proof of the last."""
    points = points_of(artifacts[kind], step=1000)
    assert [point.done + 512 for point in points][:expected] == [APART * (n + 1) for n in range(expected)]


@pytest.mark.parametrize("step", [1, 2, 3, 5, 1000])
def test_a_marker_may_come_in_pieces(step: int) -> None:
    content = RANDOM.randbytes(350_000)
    points = points_of(built(flushed(100_000), content=content), step=step)
    assert [point.done + 512 for point in points] == [100_000, 200_000]


def test_who_never_flushes_is_not_searched_for_ever(monkeypatch: pytest.MonkeyPatch) -> None:
    raw = built(flushed(300_000), content=RANDOM.randbytes(1_000_000))
    assert len(points_of(raw)) == 3
    monkeypatch.setattr(restart_module, "PATIENCE", 320_000)
    assert len(points_of(raw)) == 3
    monkeypatch.setattr(restart_module, "PATIENCE", 200_000)
    assert points_of(raw) == []


@pytest.mark.parametrize("kind", ["full", "sync", "zstd"])
def test_a_life_that_goes_on_finds_points_of_its_own(artifacts: dict[str, bytes], kind: str) -> None:
    raw = artifacts[kind]
    start = points_of(raw)[1]
    artifact = read_artifact(io.BytesIO(raw), restart_every=EVERY)
    found = []
    for file in artifact.resumed(start, io.BytesIO(raw[start.place :]), lambda at, size: CONTENT[at : at + size]):
        found.append(file.restart_point())
        while file.read(10_000):
            found.append(file.restart_point())
    first, *others = dict.fromkeys(found)
    assert first == start
    assert len(others) > 3
    for point in others:
        assert point is not None
        assert read_on(raw, point) == CONTENT


def test_looking_for_points_takes_no_memory() -> None:
    raw = built(flushed(20_000), content=RANDOM.randbytes(8 << 20))
    tracemalloc.start()
    try:
        for file in read_artifact(io.BytesIO(raw), restart_every=1000).files():
            while file.read(10_000):
                pass
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < 2 << 20  # beside the stream, which the test holds


def test_a_point_is_asked_for_by_what_is_durable(artifacts: dict[str, bytes]) -> None:
    file = next(read_artifact(io.BytesIO(artifacts["none"])).files())
    assert file.restart_point() is None
    file.read(1000)
    assert [file.restart_point(n) and file.restart_point(n).done for n in (0, 1, 999, 5000)] == [None, 1, 999, 1000]  # type: ignore[union-attr]
    for file in read_artifact(io.BytesIO(artifacts["sync"]), restart_every=EVERY).files():
        while file.read(10_000):
            for durable in (200_000, 300_000):
                point = file.restart_point(durable)
                assert point is None or point.done <= durable
        last = file.restart_point(300_000)
        assert last is not None
        assert last.done > 200_000


def test_points_of_the_tool(tmp_path: Path) -> None:
    """It compresses blocks of 1 MiB side by side, with a flush after each, and each may refer to the one before."""
    content = (CONTENT + TEXT * 3) * 5
    image, path = tmp_path / "image.ext4", tmp_path / "theirs.mender"
    image.write_bytes(content)
    tool("write", "rootfs-image", "-f", image, "-n", "r", "-t", "q", "-o", path, "--no-progress")
    raw = path.read_bytes()
    points = points_of(raw, every=1 << 19)
    assert len(points) == (len(content) >> 20) - (len(content) % (1 << 20) < restart_module.PROOF)
    assert all((point.done + 512) % (1 << 20) == 0 for point in points)
    for point in points:
        assert read_on(raw, point, content) == content


def test_xz_begins_anew(tmp_path: Path, artifacts: dict[str, bytes]) -> None:
    raw = written(tmp_path, Compression.XZ, None)
    assert points_of(raw) == []
    manifest = read_manifest(raw)
    with pytest.raises(ArtifactError, match="xz, which cannot be read from its middle"):
        read_on(raw, RestartPoint(manifest, len(raw) // 2, 1000))
    with pytest.raises(ArtifactError, match="belongs to another artifact"):
        read_on(raw, points_of(artifacts["none"])[0])


def read_manifest(raw: bytes) -> str:
    at = raw.index(b"  data/0000/") - 64
    return hashlib.sha256(raw[at : raw.index(b"\n\0", at) + 1]).hexdigest()


@pytest.mark.parametrize("flushes", [3_000, 30_000])
def test_markers_by_chance_are_no_points(flushes: int) -> None:
    """Bytes that cannot be compressed are stored as they are, so a stream may hold any number of markers."""
    noise = b"".join(RANDOM.randbytes(RANDOM.randrange(400)) + MARKER for _ in range(3000))
    raw = built(flushed(flushes, level=0), content=noise)
    assert raw.count(MARKER) > 3000
    for point in points_of(raw, every=1000):
        assert raw[: point.place].endswith(MARKER)
        assert read_on(raw, point, noise) == noise


def test_a_point_that_is_none_is_found_out(monkeypatch: pytest.MonkeyPatch) -> None:
    """Were the proof to fail us, the end would still tell."""
    noise = b"".join(RANDOM.randbytes(300) + MARKER for _ in range(1500))
    raw = built(flushed(1 << 30, level=0), content=noise)
    assert points_of(raw, every=1000) == []
    monkeypatch.setattr(restart_module._Trial, "stands", lambda _: True)
    points = points_of(raw, every=1000)
    assert len(points) > 1
    for point in points:
        with pytest.raises(ArtifactError):
            read_on(raw, point, noise)


def test_a_stream_in_a_stream_is_no_point() -> None:
    """What is stored may itself be a deflate stream and can be decompressed, but not to the same."""
    inner = flushed(10_000)(TEXT * 4)
    content = RANDOM.randbytes(60_000) + inner + RANDOM.randbytes(100_000)
    raw = built(flushed(1 << 30, level=0), content=content)
    assert raw.count(MARKER) > 5
    assert points_of(raw, every=1000) == []


@pytest.mark.parametrize(
    ("manifest", "place", "done"),
    [
        ("", 1, 1),
        ("A" * 64, 1, 1),
        ("a" * 63, 1, 1),
        ("a" * 64 + "\n", 1, 1),
        (None, 1, 1),
        ("a" * 64, -1, 1),
        ("a" * 64, 1, -1),
        ("a" * 64, 1 << 43, 1),
        ("a" * 64, 1, 1 << 43),
        ("a" * 64, True, 1),
        ("a" * 64, 1, 1.0),
        ("a" * 64, "1", 1),
    ],
)
def test_absurd_points_are_refused(manifest: object, place: object, done: object) -> None:
    with pytest.raises(ArtifactError, match="a restart point"):
        RestartPoint(manifest, place, done)  # type: ignore[arg-type]
    with pytest.raises(ArtifactError, match="a restart point"):
        RestartPoint.of({"manifest": manifest, "place": place, "done": done, "more": 1})


def test_a_stored_point_comes_back() -> None:
    point = RestartPoint("a" * 64, 5, 3)
    assert RestartPoint(**asdict(point)) == point
    assert RestartPoint.of({**asdict(point), "blocks": 7}) == point
    with pytest.raises(ArtifactError, match="incomplete"):
        RestartPoint.of({"manifest": "a" * 64, "done": 3})


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_elsewhere_is_refused(artifacts: dict[str, bytes], kind: str) -> None:
    raw = artifacts[kind]
    points = points_of(raw)
    point, later = points[len(points) // 2 :][:2]
    wrong = [replace(point, place=point.place + by) for by in (-100_000, -512, -1, 1, 512, 1000)]
    wrong += [replace(point, done=point.done + by) for by in (-512, -1, 1, 512)]
    wrong += [replace(point, place=later.place), replace(point, done=later.done)]
    wrong += [replace(point, place=0), replace(point, place=len(raw)), replace(point, place=len(raw) + 512)]
    wrong += [replace(point, done=0), replace(point, done=len(CONTENT) + 1)]
    for one in wrong:
        with pytest.raises(ArtifactError):
            read_on(raw, one)


@pytest.mark.parametrize("kind", KINDS)
def test_a_point_of_another_artifact_is_refused_unseen(artifacts: dict[str, bytes], kind: str) -> None:
    def untouched(*_: int) -> bytes:
        raise AssertionError("the content was asked for")

    artifact = read_artifact(io.BytesIO(artifacts[kind]))
    for other in (RestartPoint("0" * 64, 100_000, 90_000), *points_of(built(content=CONTENT[1:], suffix=""))[:1]):
        with pytest.raises(ArtifactError, match="belongs to another artifact"):
            next(artifact.resumed(other, io.BytesIO(b""), untouched))
    # Nothing is lost by having tried.
    assert [file.read() for file in artifact.files()] == [CONTENT]


@pytest.mark.parametrize("kind", KINDS)
def test_after_a_failure_the_whole_can_be_read(artifacts: dict[str, bytes], kind: str) -> None:
    raw = artifacts[kind]
    artifact = read_artifact(io.BytesIO(raw))
    for _ in range(2):
        point = points_of(raw)[1]
        with pytest.raises(ArtifactError):
            [file.read() for file in artifact.resumed(point, io.BytesIO(raw[point.place :]), lambda _, n: bytes(n))]
    assert [file.read() for file in artifact.files()] == [CONTENT]


def test_several_files_have_no_points() -> None:
    raw = Parts(data=[("a", CONTENT), ("b", CONTENT)]).build()
    assert points_of(raw) == []
    with pytest.raises(ArtifactError, match="does not have the one file"):
        read_on(raw, RestartPoint(read_manifest(raw), 10_000, 1000))


@pytest.mark.parametrize("kind", KINDS)
def test_changed_content_is_refused(artifacts: dict[str, bytes], kind: str) -> None:
    raw = artifacts[kind]
    point = points_of(raw)[3]
    for at in (0, point.done // 2, point.done - 40_000, point.done - 20_000, point.done - 1):
        changed = bytearray(CONTENT)
        changed[at] ^= 4
        with pytest.raises(ArtifactError):
            read_on(raw, point, bytes(changed))
    with pytest.raises(ArtifactError, match="before the restart point"):
        read_on(raw, point, CONTENT[: point.done - 1])


@pytest.mark.parametrize("kind", KINDS)
def test_a_rest_that_is_cut_short_or_longer_is_refused(artifacts: dict[str, bytes], kind: str) -> None:
    raw = artifacts[kind]
    for point in points_of(raw)[::4]:
        rest = raw[point.place :]
        for size in (0, 1, len(rest) // 2, len(rest) - 1025, len(rest) - 1):
            with pytest.raises(ArtifactError, match="truncated"):
                read_on(raw, point, rest=rest[:size])
        with pytest.raises(ArtifactError, match="bytes after its end marker"):
            read_on(raw, point, rest=rest + b"x")


def with_payload(change: Callable[[bytes], bytes]) -> tuple[bytes, RestartPoint]:
    """A flushed artifact and a point of it, and the same artifact with its compressed payload changed."""
    compress = flushed(60_000)
    point = points_of(built(compress))[1]
    payload = compress(tar([("image", CONTENT)]))
    raw = Parts(
        data=[("image", CONTENT)],
        header_name="header.tar.gz",
        data_name="data/0000.tar.gz",
        compress=compress,
        outer=lambda members: [*members[:-1], (members[-1][0], change(payload))],
    ).build()
    return raw, point


def test_the_end_of_a_gzip_is_checked_as_far_as_can_be() -> None:
    raw, point = with_payload(lambda payload: payload)
    assert read_on(raw, point) == CONTENT
    for change, sentence in (
        (lambda payload: payload[:-4] + bytes(4), "its length is not what it states"),
        (lambda payload: payload[:-1], "the payload is truncated"),
        (lambda payload: payload[:-8], "the payload is truncated"),
        (lambda payload: payload[:-9], "the payload is truncated"),
        (lambda payload: payload + b"x", "bytes after the end of its compressed stream"),
        (lambda payload: payload + payload, "bytes after the end of its compressed stream"),
    ):
        raw, point = with_payload(change)
        with pytest.raises(ArtifactError, match=sentence):
            read_on(raw, point)
    # The sum is of the whole member; the manifest vouches for what is in it.
    raw, point = with_payload(lambda payload: payload[:-8] + bytes(4) + payload[-4:])
    assert read_on(raw, point) == CONTENT


@pytest.mark.parametrize("kind", KINDS)
def test_cut_anywhere_damaged_anywhere(artifacts: dict[str, bytes], kind: str) -> None:
    raw = artifacts[kind]

    @QUICK
    @given(data=st.data())
    def check(data: st.DataObject) -> None:
        every = data.draw(st.integers(1000, 200_000), "every")
        cut = data.draw(st.integers(0, len(raw)), "cut")
        points = []
        try:
            for file in read_artifact(io.BytesIO(raw[:cut]), restart_every=every).files():
                while piece := file.read(data.draw(st.sampled_from([100_000, 30_000, 400_000]), "ask")):
                    durable = data.draw(st.integers(0, len(piece)), "not durable")
                    points.append(file.restart_point(max(0, file.size - file._entry.remaining - durable)))
        except ArtifactError:
            assert cut < len(raw)
        if not points or (point := points[-1]) is None:
            return
        assert read_on(raw, point, step=data.draw(st.integers(1000, 1 << 20), "step")) == CONTENT
        kept, rest = bytearray(CONTENT), bytearray(raw[point.place :])
        for damaged in data.draw(st.sampled_from([[kept], [rest], [kept, rest]]), "damaged"):
            limit = point.done if damaged is kept else len(rest)
            damaged[data.draw(st.integers(0, limit - 1), "at")] ^= 1 << data.draw(st.integers(0, 7), "bit")
        try:
            # What was kept may be wrong where nobody looks any more: after the point.
            assert read_on(raw, point, bytes(kept), bytes(rest)) == CONTENT
        except ArtifactError:
            return
        assert kept == CONTENT

    check()
