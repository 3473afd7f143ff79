# SPDX-License-Identifier: Apache-2.0
"""Small artifacts, signed well, badly or not at all: for stories in which only the refusal matters."""

from __future__ import annotations

import io
import random
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, Literal

from images.layout import MIB
from images.release import ARTIFACT_FORMAT, DEVICE_TYPE, Keys
from images.stage import Stage, Workshop, tree_digest
from updater.artifact import PrivateKey, load_private_key, write_rootfs_artifact
from updater.artifact.tarwrite import write_end, write_member

Spoiled = Literal["header", "payload"] | None
HEADER, PAYLOAD = "header.tar.gz", "data/0000.tar.gz"


@dataclass(frozen=True)
class Sample(Stage):
    """Makes `sample.mender`, whose image is a mebibyte that boots nothing.

    It is signed with the key named `signer`, or not at all; what is `spoiled` has another checksum than the one that
    the signed manifest names.
    """

    signer: str | None
    spoiled: Spoiled = None
    keys: Keys = Keys()
    name: ClassVar[str] = "sample"
    says: ClassVar[str] = "Writing a small artifact,"

    @property
    def label(self) -> str:
        return f"signed by {self.signer or 'nobody'}" + (f", with a spoiled {self.spoiled}" if self.spoiled else "")

    def inputs(self) -> dict[str, Any]:
        return {
            "signer": self.signer, "spoiled": self.spoiled, "keys": self.keys.key,
            "format": tree_digest([ARTIFACT_FORMAT]),
        }  # fmt: skip

    def build(self, into: Path, workshop: Workshop) -> None:
        pem = (workshop.get(self.keys) / f"{self.signer}.pem").read_bytes() if self.signer else None
        key = load_private_key(pem) if pem else None
        good = _artifact("sample", 1, key)
        if self.spoiled:
            place = {"header": HEADER, "payload": PAYLOAD}[self.spoiled]
            good = _with_member(good, place, _artifact("another", 2, key))
        (into / "sample.mender").write_bytes(good)


def _artifact(name: str, seed: int, key: PrivateKey | None) -> bytes:
    out = io.BytesIO()
    with tempfile.TemporaryDirectory() as scratch:
        image = Path(scratch, "rootfs.ext4")
        image.write_bytes(random.Random(seed).randbytes(MIB))
        write_rootfs_artifact(out, image=image, name=name, device_types=[DEVICE_TYPE], signing_key=key)
    return out.getvalue()


def _with_member(artifact: bytes, name: str, other: bytes) -> bytes:
    """The artifact, with the member `name` of the other one; manifest and signature stay as they are."""
    members, out = _members(artifact), io.BytesIO()
    for member, content in {**members, name: _members(other)[name]}.items():
        write_member(out, member, content)
    write_end(out)
    return out.getvalue()


def _members(artifact: bytes) -> dict[str, bytes]:
    with tarfile.open(fileobj=io.BytesIO(artifact)) as tar:
        found = {member.name: tar.extractfile(member) for member in tar}
        return {name: file.read() for name, file in found.items() if file is not None}
