# SPDX-License-Identifier: Apache-2.0
"""Signing an artifact that exists: only manifest.sig comes or changes, every other byte stays as it is."""

from typing import BinaryIO

from updater.artifact.compressing import ByteSink
from updater.artifact.compression import CHUNK, ByteSource
from updater.artifact.errors import AlreadySigned
from updater.artifact.manifest import MAX_MANIFEST
from updater.artifact.reader import MAX_VERSION, read_artifact
from updater.artifact.signature import MAX_SIGNATURE, PrivateKey, encode_signature
from updater.artifact.tarstream import BLOCK, TarEntry, TarReader
from updater.artifact.tarwrite import write_member


def sign_artifact(source: BinaryIO, out: BinaryIO, key: PrivateKey, *, replace: bool = False) -> None:
    """Copy the artifact in `source`, a file to seek in, to `out` with this key's signature.

    The artifact is read to its end first, so that nothing broken is ever signed. Raises ArtifactError, AlreadySigned
    when it has a signature and `replace` is not set, and OSError.
    """
    source.seek(0)
    artifact = read_artifact(source)
    if artifact.signed and not replace:
        raise AlreadySigned("the artifact is already signed")
    for file in artifact.files():
        file.drain()
    source.seek(0)
    manifest, before, after = _signature_place(source)
    source.seek(0)
    _copy(source, out, before)
    write_member(out, "manifest.sig", encode_signature(manifest, key))
    source.seek(after)
    _copy(source, out)


class _Counted:
    """A source that knows how many bytes it gave."""

    def __init__(self, source: ByteSource) -> None:
        self._source = source
        self.given = 0

    def read(self, n: int, /) -> bytes:
        data = self._source.read(n)
        self.given += len(data)
        return data


def _signature_place(source: ByteSource) -> tuple[bytes, int, int]:
    """The manifest, where its member ends, and where that of its signature, if any, ends, in bytes from the start."""
    counted = _Counted(source)
    tar = TarReader(counted, "the artifact")
    _member(tar.next_entry(), counted, MAX_VERSION)
    manifest, before = _member(tar.next_entry(), counted, MAX_MANIFEST)
    entry = tar.next_entry()
    if entry is None or entry.name != "manifest.sig":
        return manifest, before, before
    return manifest, before, _member(entry, counted, MAX_SIGNATURE)[1]


def _member(entry: TarEntry | None, counted: _Counted, limit: int) -> tuple[bytes, int]:
    if entry is None:
        raise AssertionError("the artifact was read to its end just now")
    content = entry.read_all(limit)
    return content, counted.given + -entry.size % BLOCK


def _copy(source: ByteSource, out: ByteSink, size: int | None = None) -> None:
    """Copy `size` bytes, or all that is left."""
    left = size
    while left is None or left:
        chunk = source.read(CHUNK if left is None else min(CHUNK, left))
        if not chunk:
            return
        out.write(chunk)
        left = None if left is None else left - len(chunk)
