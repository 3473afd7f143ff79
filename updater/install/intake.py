# SPDX-License-Identifier: Apache-2.0
"""What every artifact goes through before anything of it is written: keys, format, and whether it is for this device.

Importing this module loads the artifact format; do so only when there is an artifact.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from updater.artifact import Artifact, PublicKey, load_public_key, read_artifact, unmet_depends
from updater.artifact.compression import ByteSource
from updater.errors import InstallRefused, UpdaterError
from updater.store import Device


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
    refusal = unmet_depends(artifact, device_type=device_type, stored=device.provides)
    if refusal:
        raise InstallRefused(refusal)
    return artifact
