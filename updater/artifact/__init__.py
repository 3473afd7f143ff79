# SPDX-License-Identifier: Apache-2.0
"""The .mender artifact, format version 3: a streaming reader, a writer of rootfs-image artifacts, and its rules.

Needs Python 3.11 and, only where keys are used, cryptography 38 or later. The writer is imported on first use, since
a device only reads.
"""

from typing import TYPE_CHECKING, Any

from updater.artifact.compression import Compression
from updater.artifact.errors import ArtifactError, KeyRefused
from updater.artifact.header import Header
from updater.artifact.payload import PayloadFile
from updater.artifact.provides import apply_provides, matches, unmet_depends
from updater.artifact.reader import Artifact, read_artifact
from updater.artifact.signature import PrivateKey, PublicKey, load_private_key, load_public_key

if TYPE_CHECKING:
    from updater.artifact.writer import write_rootfs_artifact

__all__ = [
    "Artifact",
    "ArtifactError",
    "Compression",
    "Header",
    "KeyRefused",
    "PayloadFile",
    "PrivateKey",
    "PublicKey",
    "apply_provides",
    "load_private_key",
    "load_public_key",
    "matches",
    "read_artifact",
    "unmet_depends",
    "write_rootfs_artifact",
]


def __getattr__(name: str) -> Any:
    if name != "write_rootfs_artifact":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from updater.artifact.writer import write_rootfs_artifact

    return write_rootfs_artifact
