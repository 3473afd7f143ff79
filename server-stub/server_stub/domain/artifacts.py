# SPDX-License-Identifier: Apache-2.0
"""Artifacts: what the server knows of one, and which of them suits a device.

The only place that meets the artifact library. Refuses an artifact the library cannot read to its last byte.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import BinaryIO

from server_stub.domain import jsontext
from server_stub.errors import Malformed
from updater.artifact import ArtifactError, read_artifact

CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class PayloadFacts:
    name: str
    size: int


@dataclass(frozen=True, slots=True)
class Facts:
    """What an artifact says of itself."""

    name: str
    device_types: tuple[str, ...]
    payload_type: str | None
    provides: Mapping[str, str]
    depends: Mapping[str, tuple[str, ...]]
    clears: tuple[str, ...] | None
    signed: bool
    files: tuple[PayloadFacts, ...]

    @property
    def depends_key(self) -> str:
        """Two artifacts of one name and device type may live together only if they depend on different things.

        The device types are left out: they are compared one by one.
        """
        others = {key: sorted(values) for key, values in self.depends.items() if key != "device_type"}
        return jsontext.canonical(others)


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact as the server keeps it."""

    id: str
    facts: Facts
    description: str
    size: int
    modified: str


def inspect(stream: BinaryIO) -> Facts:
    """Read an artifact to its end: only then are all its checksums known to be right."""
    try:
        artifact = read_artifact(stream)
        files = []
        for file in artifact.files():
            size = 0
            while chunk := file.read(CHUNK):
                size += len(chunk)
            files.append(PayloadFacts(file.name, size))
    except ArtifactError as problem:
        raise Malformed(f"The file is not a usable artifact: {problem}") from None
    return Facts(
        name=artifact.name,
        device_types=tuple(artifact.device_types),
        payload_type=artifact.payload_type,
        provides=dict(artifact.provides),
        depends={key: tuple(values) for key, values in artifact.depends.items()},
        clears=artifact.clears,
        signed=artifact.signed,
        files=tuple(files),
    )


def choose(candidates: Sequence[Artifact], device_type: str) -> Artifact | None:
    """The artifact for a device: by device type, the latest if several differ only in what they depend on."""
    suitable = [one for one in candidates if device_type in one.facts.device_types]
    return max(suitable, key=lambda one: one.modified, default=None)
