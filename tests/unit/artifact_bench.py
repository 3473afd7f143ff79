# SPDX-License-Identifier: Apache-2.0
"""A workbench for tests of `bootproof artifact`: a directory of files to work on, and the command in this process."""

import io
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from cryptography.hazmat.primitives import serialization as ser
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from updater.artifact import Artifact, load_public_key, read_artifact
from updater.artifacttool import cli

IMAGE = random.Random(9).randbytes(20_000)
SCRIPT = b"#!/bin/sh\nexit 0\n"
COMMON = ["-n", "rel-1", "-t", "qemu", "-t", "board"]
KEYS: dict[str, ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey] = {
    "ec": ec.generate_private_key(ec.SECP256R1()),
    "rsa": rsa.generate_private_key(65537, 2048),
}

Run = Callable[..., tuple[int, str, str]]
"""Runs the command; gives what it ends with, says and complains."""


def furnish(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Put the files there, and work there."""
    monkeypatch.chdir(directory)
    monkeypatch.setattr(cli, "_end_as_interrupted", lambda: None)
    (directory / "image.ext4").write_bytes(IMAGE)
    (directory / "b.txt").write_bytes(b"beta")
    (directory / "meta").write_text('{\n "a": {"b": 1}\n}\n')
    (directory / "scripts").mkdir()
    (directory / "scripts" / "ArtifactInstall_Enter_00_x").write_bytes(SCRIPT)
    (directory / "ArtifactCommit_Leave_01").write_bytes(SCRIPT)
    for name, key in KEYS.items():
        private = key.private_bytes(ser.Encoding.PEM, ser.PrivateFormat.TraditionalOpenSSL, ser.NoEncryption())
        public = key.public_key().public_bytes(ser.Encoding.PEM, ser.PublicFormat.SubjectPublicKeyInfo)
        (directory / f"{name}.pem").write_bytes(private)
        (directory / f"{name}.pub").write_bytes(public)
    return directory


def runner(capsys: pytest.CaptureFixture[str]) -> Run:
    """The command, in this process."""

    def run(*words: str | Path) -> tuple[int, str, str]:
        code = cli.main([str(word) for word in words])
        said = capsys.readouterr()
        return code, said.out, said.err

    return run


def make(run: Run) -> Path:
    """A signed module artifact with everything in it."""
    words = ["-T", "mod", "-f", "image.ext4", "-f", "b.txt", "-m", "meta", "-s", "scripts"]
    words += ["-s", "ArtifactCommit_Leave_01", "-N", "n1", "-g", "G", "-G", "g1", "-p", "a:b", "-d", "c:d"]
    assert run("write", "module-image", *COMMON, *words, "-k", "ec.pem", "-o", "made.mender") == (0, "", "")
    return Path("made.mender")


def whole(path: str | Path, key: str | None = None) -> tuple[Artifact, dict[str, bytes]]:
    """An artifact read to its last byte, and its files."""
    keys = [load_public_key(Path(key).read_bytes())] if key else []
    artifact = read_artifact(io.BytesIO(Path(path).read_bytes()), verify_keys=keys)
    return artifact, {file.name: file.read() for file in artifact.files()}
