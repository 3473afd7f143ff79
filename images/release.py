# SPDX-License-Identifier: Apache-2.0
"""Versions as slot images, signed as `.mender` artifacts, and the keys they are signed with."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images import ext4
from images.kernel import Kernel
from images.mutants import mutant
from images.recipes import recipe
from images.rootfs import Rootfs
from images.stage import HERE, Stage, Workshop, tree_digest
from updater.artifact import load_private_key, write_rootfs_artifact

DEVICE_TYPE = "virt-a64"
ARTIFACT_FORMAT = HERE.parent / "updater" / "artifact"
COMPRESS_LEVEL = 5  # as small as is needed, in half the time of the best
RESTART_EVERY = 1024 * 1024  # bytes between two places where a broken download can go on; mender-artifact has as many


@dataclass(frozen=True)
class Keys(Stage):
    """Makes the key pairs `release` (whose artifacts a board takes) and `stranger` (whose it must refuse).

    Those of RSA have these names alone, those of ECDSA end in `-ec`.
    """

    name: ClassVar[str] = "keys"
    says: ClassVar[str] = "Making signing keys"

    def inputs(self) -> dict[str, Any]:
        return {"kinds": ["rsa-3072", "ec-p256"]}

    def build(self, into: Path, _: Workshop) -> None:
        from cryptography.hazmat.primitives import serialization as form
        from cryptography.hazmat.primitives.asymmetric import ec, rsa

        def write(name: str, key: rsa.RSAPrivateKey | ec.EllipticCurvePrivateKey) -> None:
            private = key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
            public = key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo)
            (into / f"{name}.pem").write_bytes(private)
            (into / f"{name}.pem").chmod(0o600)
            (into / f"{name}.pub.pem").write_bytes(public)

        for name in ("release", "stranger"):
            write(name, rsa.generate_private_key(public_exponent=65537, key_size=3072))
            write(f"{name}-ec", ec.generate_private_key(ec.SECP256R1()))


@dataclass(frozen=True)
class Release(Stage):
    """Makes `rootfs.ext4` of a version: the base with its recipe, and a planted fault if one is named."""

    version: str
    mutant: str | None = None
    rootfs: Rootfs = Rootfs()
    kernel: Kernel = Kernel()
    name: ClassVar[str] = "release"
    says: ClassVar[str] = "Deriving version"
    code: ClassVar[tuple[str, ...]] = ("recipes.py", "statescripts.py", "ext4.py")

    @property
    def label(self) -> str:
        return self.version + (f" with the planted fault '{self.mutant}'" if self.mutant else "")

    def inputs(self) -> dict[str, Any]:
        planted = self._planted()
        return {
            "version": self.version, "rootfs": self.rootfs.key,
            "planted": [(edit.path, (edit.content or b"").hex()) for edit in planted],
        }  # fmt: skip

    def _planted(self) -> list[ext4.Edit]:
        return list(mutant(self.mutant).edits()) if self.mutant else []

    def build(self, into: Path, workshop: Workshop) -> None:
        kernel = workshop.get(self.kernel)
        image = into / "rootfs.ext4"
        shutil.copyfile(workshop.get(self.rootfs) / "rootfs.ext4", image)
        ext4.edit(image, self._planted())
        recipe(self.version).apply(image, lambda file: kernel / file)


@dataclass(frozen=True)
class Artifact(Stage):
    """Makes `<version>.mender` of a release, signed with the key named `signer`."""

    release: Release
    signer: str = "release"
    keys: Keys = Keys()
    name: ClassVar[str] = "artifact"
    says: ClassVar[str] = "Writing the artifact of version"

    @property
    def label(self) -> str:
        return self.release.label + ("" if self.signer == "release" else f", signed by a {self.signer}")

    @property
    def file(self) -> str:
        return f"{self.release.version}.mender"

    def inputs(self) -> dict[str, Any]:
        return {
            "release": self.release.key, "signer": self.signer, "keys": self.keys.key,
            "format": tree_digest([ARTIFACT_FORMAT]), "level": COMPRESS_LEVEL, "restart_every": RESTART_EVERY,
        }  # fmt: skip

    def build(self, into: Path, workshop: Workshop) -> None:
        key = load_private_key((workshop.get(self.keys) / f"{self.signer}.pem").read_bytes())
        version = recipe(self.release.version)
        with (into / self.file).open("wb") as out:
            write_rootfs_artifact(
                out,
                image=workshop.get(self.release) / "rootfs.ext4",
                name=version.artifact_name,
                device_types=[DEVICE_TYPE],
                compress_level=COMPRESS_LEVEL,
                restart_every=RESTART_EVERY,
                signing_key=key,
                scripts=version.scripts,
            )
