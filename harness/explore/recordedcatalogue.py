# SPDX-License-Identifier: Apache-2.0
"""The images of a recorded board, as the recording knows them."""

from __future__ import annotations

from pathlib import Path

from harness.explore.recording import SIGNING_KEY, Recording
from images.applications import Application
from images.catalogue import Catalogue
from images.signed import signed_by
from images.stage import Workshop


class RecordedCatalogue(Catalogue):
    """What a rig asks of the images, answered from the recording; only a following update needs the images.

    That is signed as the recorded board wants it: each machine has keys of its own, and recordings travel.
    """

    def __init__(self, recording: Recording, scratch: Path) -> None:
        super().__init__(Workshop(), recording.about.planted)
        self._about, self._key, self._scratch = recording.about, recording.folder / SIGNING_KEY, scratch

    def signing_key(self) -> bytes:
        return self._key.read_bytes()

    def artifact(self, version: str, signer: str = "release") -> Path:
        return self._signed(super().artifact(version, signer))

    def application(self, application: Application) -> Path:
        return self._signed(super().application(application))

    def _signed(self, artifact: Path) -> Path:
        key = self.signing_key()
        if key == super().signing_key():
            return artifact
        return signed_by(key, artifact, self._scratch / artifact.name)

    def slot_image(self, version: str) -> tuple[int, str]:
        known = {image.name: (image.size, image.sha256) for image in self._about.images}
        return known.get(version) or super().slot_image(version)

    def default_environment(self) -> str:
        return "".join(f"{name}={value}\n" for name, value in self._about.defaults.items())
