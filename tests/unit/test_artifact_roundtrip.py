# SPDX-License-Identifier: Apache-2.0
"""What the writer writes, the reader reads: values, content, determinism, damage and memory."""

import hashlib
import io
import json
import random
import subprocess
import sys
import tracemalloc
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from updater.artifact import (
    ArtifactError,
    Compression,
    PrivateKey,
    read_artifact,
    write_rootfs_artifact,
)

IMAGE = random.Random(7).randbytes(3000) + bytes(200_000)
KEYS = [
    PrivateKey("ECDSA P-256", ec.generate_private_key(ec.SECP256R1())),
    PrivateKey("RSA", rsa.generate_private_key(65537, 2048)),
]


class Trickle:
    """A stream that gives few bytes at a time and can do nothing but read."""

    def __init__(self, content: bytes, step: int) -> None:
        self._inner = io.BytesIO(content)
        self._step = step

    def read(self, n: int, /) -> bytes:
        return self._inner.read(min(n, self._step))


def image_file(directory: Path, content: bytes = IMAGE) -> Path:
    path = directory / "image.ext4"
    path.write_bytes(content)
    return path


def written(image: Path, **options: object) -> bytes:
    out = io.BytesIO()
    values: dict[str, object] = {"name": "release-2", "device_types": ["qemu", "board"], **options}
    write_rootfs_artifact(out, image=image, **values)  # type: ignore[arg-type]
    return out.getvalue()


@pytest.mark.parametrize("step", [1, 700, 1 << 20])
@pytest.mark.parametrize("compression", Compression)
def test_round_trip(tmp_path: Path, compression: Compression, step: int) -> None:
    content = IMAGE[:5000] if step == 1 else IMAGE
    image = image_file(tmp_path, content)
    script = b"#!/bin/sh\n"
    raw = written(
        image,
        compression=compression,
        group="beta",
        provides={"x": "y"},
        depends={"k": "v"},
        depends_names=["release-1"],
        depends_groups=["beta", "rc"],
        clears=["foo"],
        scripts={"ArtifactInstall_Enter_01_check": script},
    )
    artifact = read_artifact(Trickle(raw, step))
    digest = hashlib.sha256(content).hexdigest()
    assert (artifact.name, artifact.group, artifact.device_types) == ("release-2", "beta", ("qemu", "board"))
    assert (artifact.payload_type, artifact.signed, artifact.meta_data) == ("rootfs-image", False, b"")
    assert artifact.provides == {"rootfs-image.checksum": digest, "rootfs-image.version": "release-2", "x": "y"}
    assert artifact.depends == {"artifact_name": ("release-1",), "artifact_group": ("beta", "rc"), "k": ("v",)}
    assert artifact.clears == ("foo", "artifact_group", "rootfs_image_checksum", "rootfs-image.*")
    assert artifact.scripts == {"ArtifactInstall_Enter_01_check": script}
    assert json.loads(artifact.header_info)["payloads"] == json.loads('[{"type":"rootfs-image"}]')
    assert json.loads(artifact.type_info)["type"] == "rootfs-image"
    [(name, size, checksum, data)] = [(f.name, f.size, f.checksum, f.read()) for f in artifact.files()]
    assert (name, size, checksum) == ("image.ext4", len(content), digest)
    assert data == content


@pytest.mark.parametrize("key", KEYS, ids=["ecdsa", "rsa"])
def test_signed_round_trip(tmp_path: Path, key: PrivateKey) -> None:
    raw = written(image_file(tmp_path), signing_key=key)
    other = next(one for one in KEYS if one is not key)
    artifact = read_artifact(io.BytesIO(raw), verify_keys=[other.public_key(), key.public_key()])
    assert artifact.signed
    assert [file.read() for file in artifact.files()] == [IMAGE]
    assert read_artifact(io.BytesIO(raw)).signed
    with pytest.raises(ArtifactError, match="none of the verification keys"):
        read_artifact(io.BytesIO(raw), verify_keys=[other.public_key()])


@pytest.mark.parametrize("compression", Compression)
def test_same_inputs_same_bytes(tmp_path: Path, compression: Compression) -> None:
    (tmp_path / "other").mkdir()
    first, second = image_file(tmp_path), image_file(tmp_path / "other")
    second.chmod(0o644)
    with (tmp_path / "named.mender").open("wb") as out:
        write_rootfs_artifact(
            out, image=first, name="release-2", device_types=["qemu", "board"], compression=compression
        )
    assert (tmp_path / "named.mender").read_bytes() == written(second, compression=compression)
    # Nothing is left beside the output.
    assert {path.name for path in tmp_path.iterdir()} == {"other", "image.ext4", "named.mender"}


def test_a_release_written_before_is_written_the_same_today(tmp_path: Path) -> None:
    """Images in the cache and records of runs name artifacts by these bytes."""
    raw = written(
        image_file(tmp_path),
        compression=Compression.NONE,
        group="g",
        provides={"a": "b"},
        depends={"z": "y", "b": "c"},
        depends_names=["n"],
        clears=["q"],
        scripts={"ArtifactInstall_Enter_01": b"x"},
    )
    assert hashlib.sha256(raw).hexdigest() == "ec1bcc70ef47e470739ead084699deb734659fe6f3ac5b01da6dcc5ab2929599"


def test_empty_image(tmp_path: Path) -> None:
    artifact = read_artifact(io.BytesIO(written(image_file(tmp_path, b""))))
    assert [file.read() for file in artifact.files()] == [b""]


def test_software_options_name_the_part(tmp_path: Path) -> None:
    raw = written(image_file(tmp_path), software_filesystem="data", software_name="app", software_version="7")
    artifact = read_artifact(io.BytesIO(raw))
    assert artifact.provides["data.app.version"] == "7"
    assert artifact.clears == ("data.app.*",)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"name": ""}, "artifact_name of header-info is empty"),
        ({"name": "a\n"}, "unprintable"),
        ({"device_types": []}, "names no device type"),
        ({"scripts": {"Idle_Enter_00": b""}}, "state script name 'Idle_Enter_00'"),
        ({"provides": {"": "x"}}, "a key of type-info is empty"),
    ],
)
def test_writer_refuses_what_the_reader_would(tmp_path: Path, options: dict[str, object], sentence: str) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        written(image_file(tmp_path), **options)


def test_writer_refuses_images_it_cannot_name_or_read(tmp_path: Path) -> None:
    for name in ("with space", "x" * 91):
        (tmp_path / name).write_bytes(b"")
        with pytest.raises(ArtifactError, match="file name"):
            written(tmp_path / name)
    with pytest.raises(ArtifactError, match="not a regular file"):
        written(tmp_path)


def test_leaving_a_file_early_still_verifies_it(tmp_path: Path) -> None:
    raw = bytearray(written(image_file(tmp_path, b"A" * 10_000), compression=Compression.NONE))
    raw[raw.rindex(b"A")] = ord("B")
    files = read_artifact(io.BytesIO(raw)).files()
    assert next(files).read(10) == b"A" * 10
    with pytest.raises(ArtifactError, match=r"checksum of .* does not match"):
        next(files)


def test_the_read_that_meets_the_end_refuses_and_stays_refused(tmp_path: Path) -> None:
    raw = bytearray(written(image_file(tmp_path, b"A" * 1000), compression=Compression.NONE))
    raw[raw.rindex(b"A")] = ord("B")
    file = next(read_artifact(io.BytesIO(raw)).files())
    assert file.read(999) == b"A" * 999
    for _ in range(2):
        with pytest.raises(ArtifactError, match="checksum"):
            file.read(1)


def test_payload_can_be_taken_once(tmp_path: Path) -> None:
    artifact = read_artifact(io.BytesIO(written(image_file(tmp_path))))
    assert len(list(artifact.files())) == 1
    with pytest.raises(RuntimeError):
        artifact.files()


@pytest.mark.parametrize("compression", [Compression.NONE, Compression.GZIP, Compression.ZSTD])
def test_memory_stays_constant(tmp_path: Path, compression: Compression) -> None:
    image = tmp_path / "large.img"
    with image.open("wb") as out:
        out.truncate(64 * 1024 * 1024)
    target = tmp_path / "large.mender"
    tracemalloc.start()
    try:
        with target.open("wb") as out:
            write_rootfs_artifact(
                out, image=image, name="n", device_types=["t"], compression=compression, compress_level=1
            )
        with target.open("rb") as stream:
            read = 0
            for file in read_artifact(stream).files():
                while chunk := file.read(65536):
                    read += len(chunk)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert read == 64 * 1024 * 1024
    assert peak < 4 * 1024 * 1024


def test_compressed_streams_carry_no_time_or_name(tmp_path: Path) -> None:
    raw = written(image_file(tmp_path))
    start = raw.index(b"\x1f\x8b")
    assert raw[start + 3 : start + 8] == bytes(5)


def test_reading_without_keys_imports_no_cryptography() -> None:
    code = (
        "import sys, updater.artifact; "
        "heavy = {'cryptography', 'zstandard', 'tarfile', 'lzma', 'tempfile'} & set(sys.modules); "
        "assert not heavy, heavy"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=Path(__file__).parents[2])
