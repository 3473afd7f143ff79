# SPDX-License-Identifier: Apache-2.0
"""The .mender artifact, format version 3: a streaming reader, a writer of every kind of artifact, and its rules.

Needs Python 3.11, and cryptography 38 or later only where keys are used, zstandard 0.20 or later only where zstd is.
What writes is imported on first use, since a device only reads.
"""

from typing import TYPE_CHECKING, Any

from updater.artifact.compression import ByteSource, Compression
from updater.artifact.errors import AlreadySigned, ArtifactError, KeyRefused, UnsupportedFeature, UnsupportedVersion
from updater.artifact.header import ROOTFS_IMAGE, Header
from updater.artifact.payload import PayloadFile
from updater.artifact.provides import apply_provides, matches, unmet_depends
from updater.artifact.reader import Artifact, read_artifact
from updater.artifact.restart import RestartPoint
from updater.artifact.signature import PrivateKey, PublicKey, load_private_key, load_public_key, verify_signature

if TYPE_CHECKING:
    from updater.artifact.description import Description, Software
    from updater.artifact.signing import sign_artifact
    from updater.artifact.writer import (
        write_artifact,
        write_bootstrap_artifact,
        write_module_artifact,
        write_rootfs_artifact,
    )

__all__ = [
    "ROOTFS_IMAGE",
    "AlreadySigned",
    "Artifact",
    "ArtifactError",
    "ByteSource",
    "Compression",
    "Description",
    "Header",
    "KeyRefused",
    "PayloadFile",
    "PrivateKey",
    "PublicKey",
    "RestartPoint",
    "Software",
    "UnsupportedFeature",
    "UnsupportedVersion",
    "apply_provides",
    "load_private_key",
    "load_public_key",
    "matches",
    "read_artifact",
    "sign_artifact",
    "unmet_depends",
    "verify_signature",
    "write_artifact",
    "write_bootstrap_artifact",
    "write_module_artifact",
    "write_rootfs_artifact",
]

_LATER = {
    "Description": "description",
    "Software": "description",
    "sign_artifact": "signing",
    "write_artifact": "writer",
    "write_bootstrap_artifact": "writer",
    "write_module_artifact": "writer",
    "write_rootfs_artifact": "writer",
}


def __getattr__(name: str) -> Any:
    if name not in _LATER:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    return getattr(import_module(f"{__name__}.{_LATER[name]}"), name)
