# SPDX-License-Identifier: Apache-2.0
"""The manifest: which members an artifact of one payload has, and the SHA-256 of each.

Refuses lines out of form, duplicate names, and names that no such artifact can contain (Mender artifact format v3).
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass

from updater.artifact.compression import Compression
from updater.artifact.errors import ArtifactError, UnsupportedFeature
from updater.artifact.names import check_file_name, shown

MAX_MANIFEST = 1024 * 1024
"""Bytes of the manifest entry."""
MAX_LINES = 4096
"""Lines of the manifest, hence about as many payload files."""
DATA_PREFIX = "data/0000/"

_LINE = re.compile(rb"([0-9a-f]{64})  ([!-~]+)")
_OTHER_PAYLOAD = re.compile(r"data/[0-9]{4}/.*")


@dataclass(frozen=True)
class Manifest:
    """Checksums (64 lower-case hex digits) by member name, in the order of the lines."""

    checksums: Mapping[str, str]

    def checksum(self, name: str) -> str:
        """The checksum of a member; raises ArtifactError when the manifest does not list it."""
        if name not in self.checksums:
            raise ArtifactError(f"{shown(name)} is not in the manifest")
        return self.checksums[name]

    def verify(self, name: str, actual: str) -> None:
        """Raise ArtifactError unless `actual` (hex) is the checksum listed for the member."""
        if self.checksum(name) != actual:
            raise ArtifactError(f"the checksum of {shown(name)} does not match the manifest")

    def payload_files(self) -> tuple[str, ...]:
        """The base names of the payload's files."""
        return tuple(name.removeprefix(DATA_PREFIX) for name in self.checksums if name.startswith(DATA_PREFIX))


def parse_manifest(raw: bytes) -> Manifest:
    """Parse `<sha256 hex><two spaces><name>\\n` lines; raises ArtifactError with the number of the offending line."""
    lines = raw.split(b"\n")
    if lines.pop():
        raise ArtifactError("the manifest does not end with a newline")
    if len(lines) > MAX_LINES:
        raise ArtifactError(f"the manifest has more than {MAX_LINES} lines")
    checksums: dict[str, str] = {}
    for number, line in enumerate(lines, 1):
        match = _LINE.fullmatch(line)
        if match is None:
            raise ArtifactError(f"line {number} of the manifest is not a SHA-256, two spaces and a name")
        checksum, name = match[1].decode("ascii"), match[2].decode("ascii")
        _check_member(name)
        if name in checksums:
            raise ArtifactError(f"the manifest lists {shown(name)} twice")
        checksums[name] = checksum
    return Manifest(checksums)


def render_manifest(checksums: Mapping[str, str]) -> bytes:
    """The manifest's bytes for these checksums, in their order."""
    return "".join(f"{checksum}  {name}\n" for name, checksum in checksums.items()).encode("ascii")


def _check_member(name: str) -> None:
    if name == "version" or Compression.of(name, "header.tar") is not None:
        return
    if name.startswith(DATA_PREFIX):
        check_file_name(name.removeprefix(DATA_PREFIX))
    elif _OTHER_PAYLOAD.fullmatch(name):
        raise UnsupportedFeature(
            f"the manifest lists {shown(name)} of a second payload; exactly one payload is supported"
        )
    else:
        raise ArtifactError(f"the manifest lists {shown(name)}, which has no place in an artifact")
