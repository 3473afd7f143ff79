# SPDX-License-Identifier: Apache-2.0
"""Damage of every kind: an artifact is refused with ArtifactError or read exactly as it was meant, and nothing else."""

import hashlib
import io
import random
import tracemalloc
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.unit.artifact_parts import KEY, Members, Parts, header_info, line, tar, type_info
from updater.artifact import (
    ArtifactError,
    Compression,
    PublicKey,
    read_artifact,
    write_bootstrap_artifact,
    write_module_artifact,
    write_rootfs_artifact,
)
from updater.artifact.compressing import compressing
from updater.artifact.tarwrite import write_header

SMALL = random.Random(3).randbytes(700) + bytes(300)
SCRIPTS = {"ArtifactInstall_Enter_00": b"#!/bin/sh\n", "ArtifactCommit_Leave_10_x": b"#!/bin/sh\nexit 1\n"}
QUICK = settings(
    derandomize=True, deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)


def content_of(raw: bytes, keys: tuple[PublicKey, ...] = ()) -> tuple[object, ...]:
    """Everything a device would act on; in which order the files come, no checksum says."""
    artifact = read_artifact(io.BytesIO(raw), verify_keys=keys)
    files = {file.name: (file.size, file.checksum, file.read()) for file in artifact.files()}
    parts = artifact.header_info, artifact.type_info, artifact.meta_data
    return *parts, tuple(artifact.scripts.items()), tuple(sorted(files.items()))


def refused_or_same(raw: bytes, original: bytes, keys: tuple[PublicKey, ...] = ()) -> None:
    try:
        content = content_of(raw, keys)
    except ArtifactError:
        return
    assert content == content_of(original)


def written(kind: str, compression: Compression, folder: Path) -> bytes:
    first, second, out = folder / "a.img", folder / "b.txt", io.BytesIO()
    first.write_bytes(SMALL)
    second.write_bytes(b"beta")
    if kind == "rootfs":
        write_rootfs_artifact(
            out, image=first, name="r", device_types=["q"], scripts=SCRIPTS, compression=compression, signing_key=KEY
        )
    elif kind == "module":
        write_module_artifact(
            out, payload_type="mod", files=[first, second], name="r", device_types=["q"], meta_data={"a": [1]},
            scripts=SCRIPTS, compression=compression, signing_key=KEY,
        )  # fmt: skip
    else:
        write_bootstrap_artifact(out, name="r", device_types=["q"], provides={"a": "b"}, compression=compression)
    return out.getvalue()


@pytest.fixture(
    scope="module",
    params=[*(("rootfs", one) for one in Compression), ("module", Compression.GZIP), ("bootstrap", Compression.NONE)],
    ids=lambda param: f"{param[0]}-{param[1].name.lower()}",
)
def artifact(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> bytes:
    kind, compression = request.param
    return written(kind, compression, tmp_path_factory.mktemp("small"))


@QUICK
@given(data=st.data())
def test_flipped_bits(artifact: bytes, data: st.DataObject) -> None:
    damaged = bytearray(artifact)
    for _ in range(data.draw(st.integers(1, 3))):
        damaged[data.draw(st.integers(0, len(damaged) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    refused_or_same(bytes(damaged), artifact)
    if b"manifest.sig" in artifact:
        refused_or_same(bytes(damaged), artifact, (KEY.public_key(),))


@QUICK
@given(data=st.data())
def test_a_piece_cut_out_doubled_or_moved(artifact: bytes, data: st.DataObject) -> None:
    start, end = sorted(data.draw(st.tuples(*[st.integers(0, len(artifact))] * 2)))
    piece, rest = artifact[start:end], artifact[:start] + artifact[end:]
    at = data.draw(st.integers(0, len(rest)))
    times = data.draw(st.integers(0, 2))
    refused_or_same(rest[:at] + piece * times + rest[at:], artifact)


@QUICK
@given(data=st.data())
def test_truncation_is_always_refused(artifact: bytes, data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(artifact) - 1))
    with pytest.raises(ArtifactError, match="truncated"):
        content_of(artifact[:cut])


@settings(QUICK, max_examples=200)
@given(raw=st.binary(max_size=2000))
def test_arbitrary_bytes_are_refused(raw: bytes) -> None:
    with pytest.raises(ArtifactError):
        content_of(raw)


def rearranged(members: Members) -> st.SearchStrategy[Members]:
    """Some of the members in some order, each any number of times; half of the time, they are all right."""
    return st.one_of(st.lists(st.sampled_from(members), max_size=len(members) + 2), st.permutations(members))


def accepted(raw: bytes) -> bool:
    try:
        content_of(raw)
    except ArtifactError:
        return False
    return True


def names(members: Members) -> list[str]:
    return [name for name, _ in members]


@settings(QUICK, max_examples=150)
@given(data=st.data(), signed=st.booleans())
def test_outer_entries_have_one_order(data: st.DataObject, signed: bool) -> None:
    parts = Parts(signing_key=KEY if signed else None)
    drawn: list[Members] = []

    def rearrange(members: Members) -> Members:
        drawn.append(data.draw(rearranged([*members, ("other", b"")])))
        return drawn[0]

    raw = replace(parts, outer=rearrange).build()
    legal = [["version", "manifest", *signature, "header.tar", "data/0000.tar"] for signature in ([], ["manifest.sig"])]
    assert accepted(raw) == (names(drawn[0]) in legal)


@settings(QUICK, max_examples=150)
@given(data=st.data())
def test_header_members_have_one_order(data: st.DataObject) -> None:
    info, *payload = Parts().header
    scripts = [(f"scripts/{name}", content) for name, content in SCRIPTS.items()]
    stranger = ("headers/0001/type-info", b"{}")
    members = data.draw(rearranged([info, *scripts, *payload, stranger]))
    found = names(members)
    middle = [name for name in found if name.startswith("scripts/")]
    ends = [["headers/0000/type-info"], ["headers/0000/type-info", "headers/0000/meta-data"]]
    legal = len(middle) == len(set(middle)) and any(found == ["header-info", *middle, *end] for end in ends)
    assert accepted(Parts(header=members).build()) == legal


@settings(QUICK, max_examples=100)
@given(data=st.data())
def test_every_payload_file_comes_once(data: st.DataObject) -> None:
    all_files = [*Parts().data, ("c.txt", b"")]
    members = data.draw(rearranged(all_files[:2]) | rearranged(all_files))
    raw = Parts(data=members, manifest=Parts().default_manifest()).build()
    assert accepted(raw) == (sorted(names(members)) == ["a.txt", "b.txt"])


PATH_PARTS = st.lists(st.sampled_from(["..", ".", "", "a", "etc", "x\\", "\0", "é", " ", "-"]), min_size=1, max_size=4)


@settings(QUICK, max_examples=150)
@given(parts=PATH_PARTS, where=st.sampled_from(["data", "script", "type", "outer"]))
def test_no_name_leads_out_of_its_directory(parts: list[str], where: str) -> None:
    name = "/".join(parts)
    info, type_entry, meta = Parts().header
    made: dict[str, Callable[[], Parts]] = {
        "data": lambda: Parts(data=[(name, b"")]),
        "script": lambda: Parts(header=[info, (f"scripts/{name}", b""), type_entry, meta]),
        "type": lambda: Parts(
            header=[
                ("header-info", header_info(payloads=[{"type": name}])),
                (type_entry[0], type_info(type=name)),
                meta,
            ]
        ),
        "outer": lambda: Parts(outer=lambda members: [*members, (name, b"")]),
    }
    try:
        raw = made[where]().build()
    except (UnicodeEncodeError, ValueError):
        return  # not even a tar can hold it
    try:
        artifact = read_artifact(io.BytesIO(raw))
        used = [*artifact.scripts, artifact.payload_type or "", *(file.name for file in artifact.files())]
    except ArtifactError:
        return
    assert not any("/" in one or one in {".", ".."} for one in used)


def bomb_of_zstd(blocks: int) -> bytes:
    """A frame in which each 4 bytes stand for 128 KiB of zeros."""
    block = (128 * 1024 << 3 | 1 << 1).to_bytes(3, "little") + b"\0"
    return b"\x28\xb5\x2f\xfd\x00\x38" + block * blocks + (1).to_bytes(3, "little")


def bomb(after: bytes, compression: Compression, size: int = 64 << 20) -> bytes:
    """`after` and `size` zeros, compressed."""
    if compression is Compression.ZSTD:
        return zstandard.ZstdCompressor().compress(after) + bomb_of_zstd(size >> 17)
    out = io.BytesIO()
    with compressing(out, compression, 1) as sink:
        sink.write(after)
        for _ in range(size >> 20):
            sink.write(bytes(1 << 20))
    return out.getvalue()


@pytest.mark.parametrize("compression", [Compression.GZIP, Compression.XZ, Compression.ZSTD], ids=lambda one: one.name)
@pytest.mark.parametrize("where", ["header", "data"])
def test_bombs_are_refused_and_never_in_memory(compression: Compression, where: str) -> None:
    parts = Parts()
    header_name = f"header.tar{compression.suffix}" if where == "header" else "header.tar"
    header = bomb(tar(parts.header)[:-1024], compression) if where == "header" else parts.header_tar()
    manifest = b"".join(line(f"data/0000/{name}", content) for name, content in parts.data)
    manifest += line(header_name, header) + line("version", parts.version)
    data_name = f"data/0000.tar{compression.suffix}" if where == "data" else "data/0000.tar"
    data = bomb(tar(parts.data), compression) if where == "data" else tar(parts.data)
    raw = tar([("version", parts.version), ("manifest", manifest), (header_name, header), (data_name, data)])
    tracemalloc.start()
    try:
        with pytest.raises(ArtifactError, match=r"zero bytes after|larger than"):
            content_of(raw)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert peak < len(raw) + (4 << 20)


def test_a_bomb_in_a_file_is_streamed() -> None:
    """Hundreds of megabytes of zeros in a few kilobytes are legal; they only must not be held."""
    size = 256 << 20
    parts = Parts(data=[])
    head = io.BytesIO()
    write_header(head, "a.img", size)
    frames = zstandard.ZstdCompressor().compress
    data = frames(head.getvalue()) + bomb_of_zstd(size >> 17) + frames(bytes(1024))
    digest = hashlib.sha256()
    for _ in range(size >> 20):
        digest.update(bytes(1 << 20))
    manifest = f"{digest.hexdigest()}  data/0000/a.img\n".encode() + parts.default_manifest()
    raw = replace(parts, manifest=manifest, outer=lambda members: [*members[:3], ("data/0000.tar.zst", data)]).build()
    tracemalloc.start()
    try:
        [file] = read_artifact(io.BytesIO(raw)).files()
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert file.size == size
    assert peak < 4 << 20
