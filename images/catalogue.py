# SPDX-License-Identifier: Apache-2.0
"""What a laboratory needs from the images, by name: the board's media, known slot images, artifacts, keys.

Everything is built on first use, so that a run builds only what it touches.
"""

from __future__ import annotations

import json
from pathlib import Path

from images.applications import Application
from images.applications import artifact as application_artifact
from images.cache import MANIFEST
from images.disk import Disk
from images.layout import LAYOUT, Layout
from images.mutants import mutant
from images.packages import Packages
from images.recipes import recipe
from images.release import DEVICE_TYPE, Artifact, Keys, Release
from images.samples import Sample, Spoiled
from images.stage import HERE, Workshop
from images.uboot import UBoot

DEFAULT_ENVIRONMENT = HERE / "boards" / "virt_a64" / "uboot" / "default.env"
FACTORY_VERSION = "a"


class Catalogue:
    """The images of one kind of board, with one planted fault in them if `planted` names it.

    Raises (from every method):
        ImageError: something cannot be built, or there is no such name.
    """

    device_type = DEVICE_TYPE

    def __init__(self, workshop: Workshop, planted: str | None = None) -> None:
        self.workshop = workshop
        self.planted = planted
        self._redundant = mutant(planted).redundant_environment if planted else True
        self._edited = planted if planted and mutant(planted).changes else None

    @property
    def layout(self) -> Layout:
        """Where everything is on the board's media."""
        return LAYOUT if self._redundant else LAYOUT.with_single_environment()

    def uboot(self) -> Path:
        """The bootloader's binary."""
        return self.workshop.get(UBoot(redundant=self._redundant)) / "u-boot.bin"

    def uboot_lock(self) -> Path:
        """What the bootloader was built from: name, version and SHA-256, as JSON."""
        return self.uboot().with_name("source.lock.json")

    def packages_lock(self) -> Path:
        """Name, version and SHA-256 of every Debian package in the images, as JSON."""
        return self.workshop.get(Packages()) / "packages.lock.json"

    def board_image(self) -> Path:
        """The media as they leave the factory, one sparse file."""
        return self.workshop.get(Disk(self._release(FACTORY_VERSION))) / "board.img"

    def default_environment(self) -> str:
        """What is compiled into U-Boot, as `name=value` lines."""
        return DEFAULT_ENVIRONMENT.read_text()

    def slot_image(self, version: str) -> tuple[int, str]:
        """Size in bytes and SHA-256 of a version's slot image."""
        about = json.loads((self.workshop.get(self._release(version)) / MANIFEST).read_text())
        image = about["files"]["rootfs.ext4"]
        return image["bytes"], image["sha256"]

    def artifact(self, version: str, signer: str = "release") -> Path:
        """The signed `.mender` file of a version."""
        stage = Artifact(self._release(version), signer)
        return self.workshop.get(stage) / stage.file

    def artifact_name(self, version: str) -> str:
        """The name that the server knows a version by."""
        return recipe(version).artifact_name

    def verify_key(self, signer: str = "release") -> bytes:
        """The public key of a signer, as PEM; unless stated, of the one that a board trusts."""
        return (self.workshop.get(Keys()) / f"{signer}.pub.pem").read_bytes()

    def signing_key(self) -> bytes:
        """The private key whose artifacts a board takes, as PEM."""
        return (self.workshop.get(Keys()) / "release.pem").read_bytes()

    def application(self, application: Application) -> Path:
        """The signed `.mender` file of an application."""
        return application_artifact(self.workshop, application)

    def sample(self, signer: str | None, spoiled: Spoiled = None) -> Path:
        """A small `.mender` file whose image boots nothing: for what is decided before it is started."""
        return self.workshop.get(Sample(signer, spoiled)) / "sample.mender"

    def _release(self, version: str) -> Release:
        recipe(version)
        return Release(version, self._edited)
