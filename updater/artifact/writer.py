# SPDX-License-Identifier: Apache-2.0
"""Writing artifacts: the same inputs give the same bytes, and memory stays constant.

No times, owners or host names go in. The payload is compressed to a temporary file first, because a tar states the
size of a member before its content. What is written is checked by the reader's own rules (Mender artifact format v3).
"""

import hashlib
import io
import os
import stat
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, BinaryIO

from updater.artifact.compressing import check_level, compressing
from updater.artifact.compression import Compression
from updater.artifact.description import CHECKSUM_KEY, Description, Software
from updater.artifact.errors import ArtifactError
from updater.artifact.header import ROOTFS_IMAGE, parse_header
from updater.artifact.jsonvalues import render
from updater.artifact.manifest import DATA_PREFIX, MAX_LINES, render_manifest
from updater.artifact.names import check_file_name, shown
from updater.artifact.payload import check_file_count
from updater.artifact.reader import FORMAT, FORMAT_VERSION
from updater.artifact.signature import PrivateKey, encode_signature
from updater.artifact.tarwrite import copy, write_end, write_header, write_member

MAX_MANIFEST_NAME = 100
"""Longest name in a manifest that every client in the field reads, in characters."""


def write_rootfs_artifact(
    out: BinaryIO,
    *,
    image: Path,
    name: str,
    device_types: Sequence[str],
    compression: Compression = Compression.GZIP,
    compress_level: int | None = None,
    signing_key: PrivateKey | None = None,
    group: str | None = None,
    provides: Mapping[str, str] | None = None,
    depends: Mapping[str, str] | None = None,
    depends_names: Sequence[str] = (),
    depends_groups: Sequence[str] = (),
    clears: Sequence[str] = (),
    scripts: Mapping[str, bytes] | None = None,
    software_filesystem: str = ROOTFS_IMAGE,
    software_name: str | None = None,
    software_version: str | None = None,
    restart_every: int | None = None,
) -> None:
    """Write an artifact that installs `image`, a regular file, as the root file system.

    The defaults of mender-artifact are added: provides rootfs-image.checksum and the software version (the artifact's
    name unless stated), and the clears that go with them after those given. Otherwise as write_artifact.
    """
    software = Software(software_filesystem, software_name, name if software_version is None else software_version)
    description = Description(
        name=name,
        device_types=device_types,
        payload_type=ROOTFS_IMAGE,
        group=group,
        depends_names=depends_names,
        depends_groups=depends_groups,
        provides={**software.provides(), **(provides or {})},
        depends=depends or {},
        clears=[*clears, *software.clears()],
        scripts=scripts or {},
        checksum_key=CHECKSUM_KEY,
    )
    write_artifact(
        out,
        description,
        [image],
        compression=compression,
        compress_level=compress_level,
        signing_key=signing_key,
        restart_every=restart_every,
    )


def write_module_artifact(
    out: BinaryIO,
    *,
    payload_type: str,
    files: Sequence[Path],
    name: str,
    device_types: Sequence[str],
    group: str | None = None,
    meta_data: Mapping[str, Any] | None = None,
    provides: Mapping[str, str] | None = None,
    clears: Sequence[str] = (),
    scripts: Mapping[str, bytes] | None = None,
    compression: Compression = Compression.GZIP,
    signing_key: PrivateKey | None = None,
) -> None:
    """Write an artifact whose `files` the update module `payload_type` gets, in this order.

    The defaults of mender-artifact are added: provides rootfs-image.<type>.version, the artifact's name, and clears
    rootfs-image.<type>.* after those given. What cannot be said here, a Description and write_artifact can.
    """
    software = Software(ROOTFS_IMAGE, payload_type, name)
    description = Description(
        name=name,
        device_types=device_types,
        payload_type=payload_type,
        group=group,
        provides={**software.provides(), **(provides or {})},
        clears=[*clears, *software.clears()],
        scripts=scripts or {},
        meta_data=b"" if meta_data is None else render(meta_data),
    )
    write_artifact(out, description, files, compression=compression, signing_key=signing_key)


def write_bootstrap_artifact(
    out: BinaryIO,
    *,
    name: str,
    device_types: Sequence[str],
    provides: Mapping[str, str] | None = None,
    clears: Sequence[str] | None = None,
    compression: Compression = Compression.GZIP,
    signing_key: PrivateKey | None = None,
) -> None:
    """Write an artifact without payload, which only tells a device what it provides; nothing is added."""
    description = Description(
        name=name, device_types=device_types, payload_type=None, provides=provides or {}, clears=clears
    )
    write_artifact(out, description, [], compression=compression, signing_key=signing_key)


def write_artifact(
    out: BinaryIO,
    description: Description,
    files: Sequence[Path],
    *,
    compression: Compression = Compression.GZIP,
    compress_level: int | None = None,
    signing_key: PrivateKey | None = None,
    restart_every: int | None = None,
) -> None:
    """Write an artifact of this description and these regular files, in their order.

    `compress_level` is the compressor's own, by default 9 for gzip, 6 for xz and 3 for zstd. With `restart_every`,
    the payload (gzip or zstd) can be decompressed anew from every multiple of that many bytes of its tar; everybody
    can still read it. Deterministic, except that two ECDSA signatures always differ.

    Raises ArtifactError when the result would not be a legal artifact, ValueError for a level or distance that the
    compression does not have, and OSError.
    """
    check_level(compression, compress_level)
    _check_files(files, description.payload_type)
    with tempfile.TemporaryFile(dir=_directory_of(out)) as data:
        checksums = _write_data(data, files, compression, compress_level, restart_every)
        header = _header_tar(description, list(checksums.values()), compression, compress_level)
        parse_header(header, compression)
        version = render({"format": FORMAT, "version": FORMAT_VERSION})
        header_name = f"header.tar{compression.suffix}"
        manifest = render_manifest({**checksums, header_name: _sha256(header), "version": _sha256(version)})
        write_member(out, "version", version)
        write_member(out, "manifest", manifest)
        if signing_key is not None:
            write_member(out, "manifest.sig", encode_signature(manifest, signing_key))
        write_member(out, header_name, header)
        size = data.tell()
        data.seek(0)
        write_header(out, f"data/0000.tar{compression.suffix}", size)
        copy(data, out, size)
    write_end(out)


def _check_files(files: Sequence[Path], payload_type: str | None) -> None:
    check_file_count(payload_type, len(files))
    if len(files) > MAX_LINES - 2:
        raise ArtifactError(f"an artifact has at most {MAX_LINES - 2} files, and {len(files)} are given")
    names: set[str] = set()
    for path in files:
        check_file_name(path.name)
        if len(DATA_PREFIX + path.name) > MAX_MANIFEST_NAME:
            raise ArtifactError(f"the payload file name {shown(path.name)} is too long for the clients in the field")
        if path.name in names:
            raise ArtifactError(f"two payload files are named {shown(path.name)}; the directory is not kept")
        names.add(path.name)
        if not stat.S_ISREG(path.stat().st_mode):
            raise ArtifactError(f"the payload file {shown(path.name)} is not a regular file")


def _directory_of(out: BinaryIO) -> Path | None:
    """Where the temporary file goes: beside the output, which must have room for as much anyway."""
    name = getattr(out, "name", None)
    return Path(name).parent if isinstance(name, str) and Path(name).is_file() else None


def _write_data(
    data: BinaryIO, files: Sequence[Path], compression: Compression, level: int | None, restart_every: int | None
) -> dict[str, str]:
    """Write the payload tar and return the SHA-256 of each file as hex, by its name in the manifest."""
    checksums = {}
    with compressing(data, compression, level, restart_every) as tar:
        for path in files:
            with path.open("rb") as source:
                size = os.fstat(source.fileno()).st_size
                write_header(tar, path.name, size)
                checksums[DATA_PREFIX + path.name] = copy(source, tar, size)
        write_end(tar)
    return checksums


def _header_tar(
    description: Description, checksums: Sequence[str], compression: Compression, level: int | None
) -> bytes:
    out = io.BytesIO()
    with compressing(out, compression, level) as tar:
        for name, content in description.header_members(checksums):
            write_member(tar, name, content)
        write_end(tar)
    return out.getvalue()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
