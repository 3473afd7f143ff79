# SPDX-License-Identifier: Apache-2.0
"""Writing rootfs-image artifacts: the same inputs give the same bytes, and memory stays constant.

No times, owners or host names go in. The payload is compressed to a temporary file first, because a tar states the
size of a member before its content. What is written is checked by the reader's own rules (Mender artifact format v3).
"""

import hashlib
import io
import stat
import tarfile
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

from updater.artifact.compression import CHUNK, Compression, compressing
from updater.artifact.errors import ArtifactError
from updater.artifact.header import ROOTFS_IMAGE, parse_header
from updater.artifact.jsonvalues import render
from updater.artifact.manifest import DATA_PREFIX, render_manifest
from updater.artifact.names import check_file_name, shown
from updater.artifact.reader import FORMAT, FORMAT_VERSION
from updater.artifact.signature import PrivateKey, encode_signature
from updater.artifact.tarstream import BLOCK

MAX_MANIFEST_NAME = 100
"""Longest name in a manifest that every client in the field reads, in characters."""

_TAR_END = bytes(2 * BLOCK)


@dataclass(frozen=True)
class _Software:
    """Under which key the version of the software is provided."""

    filesystem: str
    name: str | None
    version: str

    def key(self, last: str) -> str:
        return ".".join(part for part in (self.filesystem, self.name, last) if part)

    def clears(self) -> list[str]:
        # The two older keys name the whole root file system, so a part of it must not clear them.
        whole = self.key("*") == f"{ROOTFS_IMAGE}.*"
        return [*(["artifact_group", "rootfs_image_checksum"] if whole else []), self.key("*")]


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
) -> None:
    """Write an artifact that installs `image`, a regular file, as the root file system.

    The defaults of mender-artifact are added: provides rootfs-image.checksum and the software version (the artifact's
    name unless stated), and the clears that go with them after those given. `compress_level` is 0..9, by default 9
    for gzip and 6 for xz. Deterministic, except that two ECDSA signatures always differ.

    Raises ArtifactError when the result would not be a legal artifact, and OSError.
    """
    _check_image(image)
    software = _Software(software_filesystem, software_name, name if software_version is None else software_version)
    with tempfile.TemporaryFile(dir=_directory_of(out)) as data:
        checksum = _write_data(data, image, compression, compress_level)
        header_info = _header_info(name, device_types, group, depends_names, depends_groups)
        given = {f"{ROOTFS_IMAGE}.checksum": checksum, software.key("version"): software.version, **(provides or {})}
        type_info = _type_info(given, depends or {}, [*clears, *software.clears()])
        header = _header_tar(header_info, scripts or {}, type_info, compression, compress_level)
        parse_header(header, compression)
        version = render({"format": FORMAT, "version": FORMAT_VERSION})
        header_name = f"header.tar{compression.suffix}"
        manifest = render_manifest(
            {DATA_PREFIX + image.name: checksum, header_name: _sha256(header), "version": _sha256(version)}
        )
        _write_member(out, "version", version)
        _write_member(out, "manifest", manifest)
        if signing_key is not None:
            _write_member(out, "manifest.sig", encode_signature(manifest, signing_key))
        _write_member(out, header_name, header)
        size = data.tell()
        data.seek(0)
        _write_header(out, f"data/0000.tar{compression.suffix}", size)
        _copy(data, out, size)
    out.write(_TAR_END)


def _check_image(image: Path) -> None:
    check_file_name(image.name)
    if len(DATA_PREFIX + image.name) > MAX_MANIFEST_NAME:
        raise ArtifactError(f"the image's file name {shown(image.name)} is too long for the clients in the field")
    if not stat.S_ISREG(image.stat().st_mode):
        raise ArtifactError(f"the image {shown(image.name)} is not a regular file")


def _directory_of(out: BinaryIO) -> Path | None:
    """Where the temporary file goes: beside the output, which must have room for as much anyway."""
    name = getattr(out, "name", None)
    return Path(name).parent if isinstance(name, str) and Path(name).is_file() else None


def _write_data(data: BinaryIO, image: Path, compression: Compression, level: int | None) -> str:
    """Write the payload tar and return the SHA-256 of the image as hex."""
    with image.open("rb") as source, compressing(data, compression, level) as tar:
        size = image.stat().st_size
        _write_header(tar, image.name, size)
        checksum = _copy(source, tar, size)
        tar.write(_TAR_END)
    return checksum


def _header_info(
    name: str,
    device_types: Sequence[str],
    group: str | None,
    depends_names: Sequence[str],
    depends_groups: Sequence[str],
) -> bytes:
    provides = {"artifact_name": name, **({} if group is None else {"artifact_group": group})}
    depends: dict[str, list[str]] = {
        **({"artifact_name": list(depends_names)} if depends_names else {}),
        "device_type": list(device_types),
        **({"artifact_group": list(depends_groups)} if depends_groups else {}),
    }
    payloads = [{"type": ROOTFS_IMAGE}]
    return render({"payloads": payloads, "artifact_provides": provides, "artifact_depends": depends})


def _type_info(provides: Mapping[str, str], depends: Mapping[str, str], clears: Sequence[str]) -> bytes:
    value: dict[str, Any] = {"type": ROOTFS_IMAGE}
    if depends:
        value["artifact_depends"] = dict(sorted(depends.items()))
    value["artifact_provides"] = dict(sorted(provides.items()))
    value["clears_artifact_provides"] = list(clears)
    return render(value)


def _header_tar(
    header_info: bytes, scripts: Mapping[str, bytes], type_info: bytes, compression: Compression, level: int | None
) -> bytes:
    out = io.BytesIO()
    members: Iterable[tuple[str, bytes]] = (
        ("header-info", header_info),
        *((f"scripts/{name}", scripts[name]) for name in sorted(scripts)),
        ("headers/0000/type-info", type_info),
        ("headers/0000/meta-data", b""),
    )
    with compressing(out, compression, level) as tar:
        for name, content in members:
            _write_member(tar, name, content)
        tar.write(_TAR_END)
    return out.getvalue()


def _write_member(out: BinaryIO, name: str, content: bytes) -> None:
    _write_header(out, name, len(content))
    _copy(io.BytesIO(content), out, len(content))


def _write_header(out: BinaryIO, name: str, size: int) -> None:
    info = tarfile.TarInfo(name)
    info.size, info.mode = size, 0o600
    # Sizes beyond ustar's 8 GiB become a PAX record, which Mender's reader takes.
    out.write(info.tobuf(tarfile.PAX_FORMAT))


def _copy(source: BinaryIO, out: BinaryIO, size: int) -> str:
    """Copy exactly `size` bytes and pad to a whole block; returns their SHA-256 as hex."""
    digest = hashlib.sha256()
    left = size
    while left:
        chunk = source.read(min(CHUNK, left))
        if not chunk:
            raise ArtifactError("the image became shorter while it was read")
        digest.update(chunk)
        out.write(chunk)
        left -= len(chunk)
    out.write(bytes(-size % BLOCK))
    return digest.hexdigest()


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
