# SPDX-License-Identifier: Apache-2.0
"""Both ways with Mender's own mender-artifact: it accepts what is written here, and what it writes is read here."""

import hashlib
import io
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from tests.unit.mender_tool import ran, tool
from updater.artifact import (
    Artifact,
    ArtifactError,
    Compression,
    load_private_key,
    load_public_key,
    read_artifact,
    sign_artifact,
    write_bootstrap_artifact,
    write_module_artifact,
    write_rootfs_artifact,
)

IMAGE = random.Random(5).randbytes(20_000)
SCRIPT = b"#!/bin/sh\nexit 0\n"
SUFFIX_OF = {"none": "", "gzip": ".gz", "lzma": ".xz"}
KNOWN_TO_IT = [one for one in Compression if one is not Compression.ZSTD]
"""The tool of Debian 12 is older than zstd in artifacts."""


@pytest.fixture
def image(tmp_path: Path) -> Path:
    path = tmp_path / "image.ext4"
    path.write_bytes(IMAGE)
    return path


@pytest.fixture(scope="module", params=["ecdsa", "rsa"])
def keys(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """Private and public key files."""
    key = ec.generate_private_key(ec.SECP256R1()) if request.param == "ecdsa" else rsa.generate_private_key(65537, 2048)
    directory = tmp_path_factory.mktemp("keys")
    private, public = directory / "private.pem", directory / "public.pem"
    # The tool of Debian 12 reads only the traditional forms.
    private.write_bytes(key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption()))
    public.write_bytes(key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo))
    return private, public


def write_ours(path: Path, image: Path, **options: object) -> None:
    with path.open("wb") as out:
        write_rootfs_artifact(out, image=image, name="rel-1", device_types=["qemu", "board"], **options)  # type: ignore[arg-type]


def read_whole(path: Path, public: Path | None = None) -> tuple[Artifact, dict[str, bytes]]:
    keys = [] if public is None else [load_public_key(public.read_bytes())]
    artifact = read_artifact(io.BytesIO(path.read_bytes()), verify_keys=keys)
    return artifact, {file.name: file.read() for file in artifact.files()}


@pytest.mark.parametrize("compression", KNOWN_TO_IT)
def test_tool_accepts_ours(tmp_path: Path, image: Path, compression: Compression) -> None:
    path = tmp_path / "ours.mender"
    write_ours(path, image, compression=compression, scripts={"ArtifactInstall_Enter_00_x": SCRIPT}, group="beta")
    tool("validate", path)
    said = tool("read", path)
    assert "Name: rel-1" in said
    assert "Compatible devices: '[qemu board]'" in said
    assert "Provides group: beta" in said
    assert "ArtifactInstall_Enter_00_x" in said
    assert hashlib.sha256(IMAGE).hexdigest() in said
    assert "rootfs-image.version: rel-1" in said


def test_tool_verifies_ours(tmp_path: Path, image: Path, keys: tuple[Path, Path]) -> None:
    path = tmp_path / "ours.mender"
    write_ours(path, image, signing_key=load_private_key(keys[0].read_bytes()))
    tool("validate", "-k", keys[1], path)
    assert "signed and verified correctly" in tool("read", "-k", keys[1], path)


@pytest.mark.parametrize("compression", KNOWN_TO_IT)
@pytest.mark.parametrize("signed", [False, True])
def test_tool_accepts_our_modules(
    tmp_path: Path, image: Path, keys: tuple[Path, Path], compression: Compression, signed: bool
) -> None:
    path, second = tmp_path / "ours.mender", tmp_path / "b.txt"
    second.write_bytes(b"beta")
    with path.open("wb") as out:
        write_module_artifact(
            out,
            payload_type="mod",
            files=[image, second],
            name="rel-1",
            device_types=["qemu"],
            meta_data={"a": {"b": 1}},
            provides={"x": "y"},
            scripts={"ArtifactReboot_Enter_01": SCRIPT},
            compression=compression,
            signing_key=load_private_key(keys[0].read_bytes()) if signed else None,
        )
    key: list[str | Path] = ["-k", keys[1]] if signed else []
    tool("validate", *key, path)
    said = tool("read", *key, path)
    for text in ("Type:   mod", "x: y", "rootfs-image.mod.version: rel-1", '"b": 1', "image.ext4", "b.txt"):
        assert text in said
    assert '["rootfs-image.mod.*"]' in said
    assert said.index("image.ext4") < said.index("b.txt")
    assert ("signed and verified correctly" in said) == signed


@pytest.mark.parametrize("compression", KNOWN_TO_IT)
def test_tool_accepts_our_empty_payloads(tmp_path: Path, compression: Compression) -> None:
    bootstrap, module = tmp_path / "bootstrap.mender", tmp_path / "module.mender"
    with bootstrap.open("wb") as out:
        write_bootstrap_artifact(
            out, name="b", device_types=["q"], provides={"x": "y"}, clears=["a.*"], compression=compression
        )
    with module.open("wb") as out:
        write_module_artifact(out, payload_type="mod", files=[], name="m", device_types=["q"], compression=compression)
    for path, texts in ((bootstrap, ("Empty type", "x: y", '["a.*"]')), (module, ("Type:   mod", "Files: None"))):
        tool("validate", path)
        said = tool("read", path)
        assert all(text in said for text in texts)


def test_tool_accepts_what_is_signed_here_afterwards(tmp_path: Path, image: Path, keys: tuple[Path, Path]) -> None:
    theirs, signed = tmp_path / "theirs.mender", tmp_path / "signed.mender"
    tool("write", "rootfs-image", "-f", image, "-n", "r", "-t", "q", "-o", theirs, "--no-progress")
    with theirs.open("rb") as source, signed.open("wb") as out:
        sign_artifact(source, out, load_private_key(keys[0].read_bytes()))
    tool("validate", "-k", keys[1], signed)
    assert ran("validate", "-k", keys[1], theirs).returncode != 0


@pytest.mark.parametrize("compression", SUFFIX_OF)
def test_rootfs_image_of_the_tool(tmp_path: Path, image: Path, compression: str) -> None:
    path, script = tmp_path / "theirs.mender", tmp_path / "ArtifactReboot_Leave_05_x"
    script.write_bytes(SCRIPT)
    common: list[str | Path] = ["-n", "rel-1", "-t", "qemu", "-t", "board", "-o", path, "--no-progress"]
    tool("write", "rootfs-image", "-f", image, "-s", script, "--compression", compression, *common)
    artifact, files = read_whole(path)
    assert (artifact.name, artifact.device_types, artifact.payload_type) == ("rel-1", ("qemu", "board"), "rootfs-image")
    assert artifact.scripts == {script.name: SCRIPT}
    assert files == {"image.ext4": IMAGE}
    # Both writers state the same about the same inputs.
    write_ours(tmp_path / "ours.mender", image, scripts={script.name: SCRIPT})
    ours, _ = read_whole(tmp_path / "ours.mender")
    assert ours.header_info == artifact.header_info
    assert (ours.provides, ours.depends, ours.clears) == (artifact.provides, artifact.depends, artifact.clears)


@pytest.mark.parametrize(
    ("arguments", "options"),
    [
        (["--software-name", "N"], {"software_name": "N"}),
        (["--software-filesystem", "F"], {"software_filesystem": "F"}),
        (["--software-version", "7"], {"software_version": "7"}),
        (["--software-filesystem", "F", "--software-name", "N"], {"software_filesystem": "F", "software_name": "N"}),
        (
            ["--clears-provides", "foo", "-p", "z:y", "-d", "k:v", "-g", "G", "-G", "g1", "-G", "g2", "-N", "n1"],
            {
                "clears": ["foo"],
                "provides": {"z": "y"},
                "depends": {"k": "v"},
                "group": "G",
                "depends_groups": ["g1", "g2"],
                "depends_names": ["n1"],
            },
        ),
    ],
)
def test_options_mean_the_same_to_both(
    tmp_path: Path, image: Path, arguments: list[str], options: dict[str, object]
) -> None:
    theirs_path, ours_path = tmp_path / "theirs.mender", tmp_path / "ours.mender"
    common: list[str | Path] = ["-n", "rel-1", "-t", "qemu", "-t", "board", "-o", theirs_path, "--no-progress"]
    tool("write", "rootfs-image", "-f", image, *common, *arguments)
    write_ours(ours_path, image, **options)
    (theirs, _), (ours, _) = read_whole(theirs_path), read_whole(ours_path)
    assert ours.header_info == theirs.header_info
    # The tool of Debian 12 leaves the type empty.
    assert ours.type_info.replace(b'"type":"rootfs-image"', b'"type":""') in {
        theirs.type_info,
        theirs.type_info.replace(b'"type":"rootfs-image"', b'"type":""'),
    }


def test_signed_by_the_tool(tmp_path: Path, image: Path, keys: tuple[Path, Path]) -> None:
    path = tmp_path / "theirs.mender"
    tool("write", "rootfs-image", "-f", image, "-n", "r", "-t", "q", "-o", path, "-k", keys[0], "--no-progress")
    artifact, files = read_whole(path, keys[1])
    assert artifact.signed
    assert files == {"image.ext4": IMAGE}


@pytest.mark.parametrize("compression", SUFFIX_OF)
def test_module_image_of_the_tool(tmp_path: Path, image: Path, compression: str) -> None:
    path, long, meta = tmp_path / "theirs.mender", tmp_path / ("n" * 140), tmp_path / "meta"
    long.write_bytes(b"long")
    (tmp_path / "image.ext4.gz").write_bytes(b"not gzip")
    meta.write_text('{"a": {"b": [1, 2]}}')
    files: list[str | Path] = ["-f", image, "-f", long, "-f", tmp_path / "image.ext4.gz"]
    common: list[str | Path] = ["-n", "rel-1", "-t", "qemu", "-o", path, "--compression", compression, "-m", meta]
    tool("write", "module-image", "-T", "mod", *files, *common, "-d", "k:v", "-N", "n1", "-N", "n2", "-g", "G")
    artifact, content = read_whole(path)
    assert (artifact.payload_type, artifact.group) == ("mod", "G")
    assert artifact.provides == {"rootfs-image.mod.version": "rel-1"}
    assert artifact.clears == ("rootfs-image.mod.*",)
    assert artifact.depends == {"artifact_name": ("n1", "n2"), "k": ("v",)}
    assert b'"a"' in artifact.meta_data
    assert content == {"image.ext4": IMAGE, "n" * 140: b"long", "image.ext4.gz": b"not gzip"}


@pytest.mark.parametrize(
    ("options", "provides", "clears"),
    [
        (["--no-default-software-version"], {}, None),
        (["--no-default-clears-provides"], {"rootfs-image.mod.version": "rel-1"}, None),
        (["--no-default-clears-provides", "--clears-provides", "a.*"], {"rootfs-image.mod.version": "rel-1"}, ("a.*",)),
        (["--software-filesystem", "F", "--software-name", "N"], {"F.N.version": "rel-1"}, ("F.N.*",)),
    ],
)
def test_provides_and_clears_of_the_tool(
    tmp_path: Path, options: list[str], provides: dict[str, str], clears: tuple[str, ...] | None
) -> None:
    path = tmp_path / "theirs.mender"
    tool("write", "module-image", "-T", "mod", "-n", "rel-1", "-t", "qemu", "-o", path, *options)
    artifact, _ = read_whole(path)
    assert (artifact.provides, artifact.clears) == (provides, clears)


def test_legacy_checksum_of_the_tool(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "theirs.mender"
    legacy = "--legacy-rootfs-image-checksum"
    tool("write", "rootfs-image", "-f", image, "-n", "r", "-t", "q", "-o", path, "--no-progress", legacy)
    artifact, _ = read_whole(path)
    assert artifact.provides["rootfs_image_checksum"] == hashlib.sha256(IMAGE).hexdigest()


def test_module_image_without_files(tmp_path: Path) -> None:
    path = tmp_path / "theirs.mender"
    tool("write", "module-image", "-T", "mod", "-n", "rel-1", "-t", "qemu", "-o", path)
    assert read_whole(path)[1] == {}


@pytest.mark.parametrize("compression", SUFFIX_OF)
def test_bootstrap_artifact_of_the_tool(tmp_path: Path, compression: str, keys: tuple[Path, Path]) -> None:
    path = tmp_path / "theirs.mender"
    common: list[str | Path] = ["-n", "rel-1", "-t", "qemu", "-o", path, "-p", "a:b", "--compression", compression]
    tool("write", "bootstrap-artifact", *common, "-k", keys[0])
    artifact, files = read_whole(path, keys[1])
    assert (artifact.name, artifact.payload_type, artifact.provides, files) == ("rel-1", None, {"a": "b"}, {})


def test_augmented_and_older_artifacts_are_refused(tmp_path: Path, image: Path) -> None:
    path = tmp_path / "theirs.mender"
    augment: list[str | Path] = ["--augment-type", "mod", "--augment-file", image]
    tool("write", "module-image", "-T", "mod", "-n", "r", "-t", "q", "-o", path, *augment)
    with pytest.raises(ArtifactError, match="augmented"):
        read_whole(path)
    tool("write", "rootfs-image", "-f", image, "-n", "r", "-t", "q", "-o", path, "-v", "2", "--no-progress")
    with pytest.raises(ArtifactError, match="format version is not 3"):
        read_whole(path)
