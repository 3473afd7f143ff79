# SPDX-License-Identifier: Apache-2.0
"""Artifacts for update modules and for the first start: what is written is read, and what cannot be is refused."""

import io
import json
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from updater.artifact import (
    ArtifactError,
    Compression,
    Description,
    PrivateKey,
    read_artifact,
    write_artifact,
    write_bootstrap_artifact,
    write_module_artifact,
)

KEY = PrivateKey("ECDSA P-256", ec.generate_private_key(ec.SECP256R1()))
FILES = {
    "z.img": random.Random(7).randbytes(3000) + bytes(200_000),
    "a.txt": b"alpha",
    "z.img.gz": b"no gzip at all",
    "empty": b"",
}


@pytest.mark.parametrize("compression", Compression)
def test_module_round_trip(tmp_path: Path, compression: Compression) -> None:
    for name, content in FILES.items():
        (tmp_path / name).write_bytes(content)
    out = io.BytesIO()
    write_module_artifact(
        out,
        payload_type="mod",
        files=[tmp_path / name for name in FILES],
        name="r",
        device_types=["q"],
        meta_data={"a": {"b": [1, None, "é"]}},
        provides={"x": "y"},
        clears=["w.*"],
        scripts={"ArtifactCommit_Leave_01": b"#!/bin/sh\n"},
        compression=compression,
        signing_key=KEY,
    )
    artifact = read_artifact(io.BytesIO(out.getvalue()), verify_keys=[KEY.public_key()])
    assert (artifact.name, artifact.payload_type, artifact.signed) == ("r", "mod", True)
    assert artifact.provides == {"rootfs-image.mod.version": "r", "x": "y"}
    assert artifact.clears == ("w.*", "rootfs-image.mod.*")
    assert json.loads(artifact.meta_data) == {"a": {"b": [1, None, "é"]}}
    assert artifact.scripts == {"ArtifactCommit_Leave_01": b"#!/bin/sh\n"}
    assert [(file.name, file.read()) for file in artifact.files()] == list(FILES.items())


def test_module_without_files_or_meta_data() -> None:
    out = io.BytesIO()
    write_module_artifact(out, payload_type="mod", files=[], name="r", device_types=["q"])
    artifact = read_artifact(io.BytesIO(out.getvalue()))
    assert (artifact.meta_data, list(artifact.files())) == (b"", [])


@pytest.mark.parametrize("compression", Compression)
@pytest.mark.parametrize("clears", [None, ["a.*"], []])
def test_bootstrap_round_trip(compression: Compression, clears: list[str] | None) -> None:
    out = io.BytesIO()
    write_bootstrap_artifact(
        out, name="r", device_types=["q"], provides={"a": "b"}, clears=clears, compression=compression
    )
    artifact = read_artifact(io.BytesIO(out.getvalue()))
    assert (artifact.payload_type, artifact.provides, artifact.scripts) == (None, {"a": "b"}, {})
    assert artifact.clears == (None if clears is None else tuple(clears))
    assert list(artifact.files()) == []


def test_a_description_is_written_as_it_is() -> None:
    out = io.BytesIO()
    description = Description(
        name="r", device_types=["q"], payload_type="mod", depends={"one": ["v"], "two": ("v", "w"), "three": "x"}
    )
    write_artifact(out, description, [])
    artifact = read_artifact(io.BytesIO(out.getvalue()))
    assert artifact.depends == {"one": ("v",), "two": ("v", "w"), "three": ("x",)}
    assert (artifact.provides, artifact.clears) == ({}, None)
    # Clients in the field read a list of one only as a string.
    assert json.loads(artifact.type_info)["artifact_depends"]["one"] == "v"


SCRIPTS = {"ArtifactCommit_Enter_01": b""}


@pytest.mark.parametrize(
    ("description", "sentence"),
    [
        (Description(name="r", device_types=["q"], payload_type="../x"), "not a legal name of an update module"),
        (Description(name="r", device_types=["q"], payload_type="m", meta_data=b"[]"), "not a JSON object"),
        (Description(name="r", device_types=["q"], payload_type=None, scripts=SCRIPTS), "carries state scripts"),
        (Description(name="r", device_types=["q"], payload_type="rootfs-image"), "exactly one file"),
        (Description(name="\udcff", device_types=["q"], payload_type="m"), "not UTF-8"),
    ],
)
def test_descriptions_that_make_no_artifact(description: Description, sentence: str) -> None:
    out = io.BytesIO()
    with pytest.raises(ArtifactError, match=sentence):
        write_artifact(out, description, [])
    assert out.getvalue() == b""


def test_payload_files_have_names_of_their_own(tmp_path: Path) -> None:
    (tmp_path / "other").mkdir()
    paths = [tmp_path / "a", tmp_path / "other" / "a"]
    for path in paths:
        path.write_bytes(b"")
    with pytest.raises(ArtifactError, match="two payload files are named 'a'"):
        write_module_artifact(io.BytesIO(), payload_type="m", files=paths, name="r", device_types=["q"])


def test_a_payload_has_no_more_files_than_a_manifest_has_lines() -> None:
    paths = [Path(f"f{number}") for number in range(4095)]
    with pytest.raises(ArtifactError, match="at most 4094 files"):
        write_module_artifact(io.BytesIO(), payload_type="m", files=paths, name="r", device_types=["q"])
