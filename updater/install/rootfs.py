# SPDX-License-Identifier: Apache-2.0
"""Installs a root file system image into the slot that does not run.

The image is streamed: it is never stored anywhere but in the slot.  Before the caller may flip, everything is on the
medium and has been read back from it.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from pathlib import Path

from updater.artifact import Artifact, PublicKey, load_public_key, read_artifact, unmet_depends
from updater.artifact.compression import ByteSource
from updater.errors import InstallRefused, UpdaterError
from updater.ports import Marks
from updater.slots import CHUNK, SlotWriter
from updater.store import Device

PAYLOAD_TYPE = "rootfs-image"
log = logging.getLogger(__name__)


def verify_keys(paths: Sequence[Path]) -> list[PublicKey]:
    """The keys that artifacts must be signed with.

    Raises:
        UpdaterError: a key cannot be read; going on without it would take unsigned artifacts.
    """
    keys = []
    for path in paths:
        try:
            keys.append(load_public_key(path.read_bytes()))
        except (OSError, ValueError) as error:
            raise UpdaterError(f"The verification key {path} cannot be used: {error}.") from error
    return keys


def open_artifact(source: ByteSource, keys: Sequence[PublicKey], device: Device, device_type: str) -> Artifact:
    """Read an artifact up to its payload and check that it is for this device.

    Raises:
        ArtifactError: it is damaged, or not signed by any of `keys`.
        InstallRefused: it is not for this device as it is now.
    """
    artifact = read_artifact(source, verify_keys=keys)
    if artifact.payload_type != PAYLOAD_TYPE:
        raise InstallRefused(f"This device cannot install payloads of type '{artifact.payload_type}'.")
    refusal = unmet_depends(artifact, device_type=device_type, stored=device.provides)
    if refusal:
        raise InstallRefused(refusal)
    return artifact


def write_image(artifact: Artifact, slot: SlotWriter, marks: Marks) -> None:
    """Stream the image into the slot, flush it, and read it back.

    Raises:
        ArtifactError: the image is not what the artifact promised.
        InstallRefused: it does not fit.
        UpdaterError: the medium does not hold what was written to it.
    """
    for image in artifact.files():
        if not image.size:
            raise InstallRefused("The image is empty.")
        if image.size > slot.capacity:
            raise InstallRefused(f"The image has {image.size} bytes, and the slot only {slot.capacity}.")
        marks.put("slot.write")
        while chunk := image.read(CHUNK):
            slot.write(chunk)
    marks.put("slot.written")
    slot.flush()
    marks.put("slot.flushed")
    slot.read_back()
    marks.put("slot.verified")
    log.info("wrote %d bytes to %s and read them back", slot.written, slot.device)
