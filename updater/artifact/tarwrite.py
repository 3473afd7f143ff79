# SPDX-License-Identifier: Apache-2.0
"""Writing a tar forwards: regular files without owner, time or mode that could tell where they were made."""

import hashlib
import io
import tarfile

from updater.artifact.compressing import ByteSink
from updater.artifact.compression import CHUNK, ByteSource
from updater.artifact.errors import ArtifactError
from updater.artifact.tarstream import BLOCK


def write_member(out: ByteSink, name: str, content: bytes) -> None:
    """A whole member that is in memory."""
    write_header(out, name, len(content))
    copy(io.BytesIO(content), out, len(content))


def write_header(out: ByteSink, name: str, size: int) -> None:
    """The header of a member of `size` bytes, which are to follow with copy."""
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    # Sizes beyond ustar's 8 GiB become a PAX record, which Mender's reader takes.
    out.write(info.tobuf(tarfile.PAX_FORMAT))


def copy(source: ByteSource, out: ByteSink, size: int) -> str:
    """Copy exactly `size` bytes and pad to a whole block; returns their SHA-256 as hex.

    Raises ArtifactError when the source ends before.
    """
    digest = hashlib.sha256()
    left = size
    while left:
        chunk = source.read(min(CHUNK, left))
        if not chunk:
            raise ArtifactError("a payload file became shorter while it was read")
        digest.update(chunk)
        out.write(chunk)
        left -= len(chunk)
    out.write(bytes(-size % BLOCK))
    return digest.hexdigest()


def write_end(out: ByteSink) -> None:
    """The two zero blocks that end a tar."""
    out.write(bytes(2 * BLOCK))
