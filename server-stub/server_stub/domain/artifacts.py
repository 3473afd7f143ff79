# SPDX-License-Identifier: Apache-2.0
"""Artifacts: what the server knows of one, and which of them suits a device.

The only place that meets the artifact library. Refuses an artifact the library cannot read to its last byte.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server_stub.domain import jsontext
from server_stub.errors import BadInput, Malformed, TooLarge
from updater.artifact import Artifact as ArtifactHead
from updater.artifact import (
    ArtifactError,
    ByteSource,
    KeyRefused,
    PublicKey,
    load_public_key,
    read_artifact,
    verify_signature,
)

# Indexes of PostgreSQL take no longer ones.
LONGEST_NAME = 256
CHUNK = 1 << 20


@dataclass(frozen=True, slots=True)
class PayloadFacts:
    name: str
    size: int
    checksum: str = ""


@dataclass(frozen=True, slots=True)
class Signature:
    """That an artifact is signed; `key` names the server's key that verifies it, None if it has none that does."""

    key: str | None


@dataclass(frozen=True, slots=True)
class Facts:
    """What an artifact says of itself."""

    name: str
    device_types: tuple[str, ...]
    payload_type: str | None
    provides: Mapping[str, str]
    depends: Mapping[str, tuple[str, ...]]
    clears: tuple[str, ...] | None
    signature: Signature | None
    files: tuple[PayloadFacts, ...]

    @property
    def depends_key(self) -> str:
        """Two artifacts of one name and device type may live together only if they depend on different things.

        A digest of them; the device types are left out: they are compared one by one.
        """
        others = {key: sorted(values) for key, values in self.depends.items() if key != "device_type"}
        return hashlib.sha256(jsontext.canonical(others).encode()).hexdigest()

    def suits(self, provides: Mapping[str, str]) -> bool:
        """Whether a device that provides this may install it (Mender: artifact depends)."""
        if provides.get("device_type") not in self.device_types:
            return False
        return all(provides.get(key) in values for key, values in self.depends.items() if key != "device_type")


@dataclass(frozen=True, slots=True)
class Artifact:
    """An artifact as the server keeps it."""

    id: str
    facts: Facts
    description: str
    size: int
    modified: str


def inspect(stream: ByteSource, limit: int, keys: Mapping[str, PublicKey]) -> Facts:
    """Read an artifact to its end: only then are all its checksums known to be right.

    `limit`: the most bytes its payload may have unpacked; it is seen before any of them is unpacked. With `keys` (by
    fingerprint), an artifact that is signed by none of them is refused. Raises Malformed, TooLarge.
    """
    try:
        artifact = read_artifact(stream, verify_keys=tuple(keys.values()), restart_every=None)
        _check_names(artifact)
        files = []
        left = limit
        for file in artifact.files():
            left -= file.size
            if left < 0:
                raise TooLarge(f"The payload is larger than {limit} bytes when it is unpacked.")
            file.drain()
            files.append(PayloadFacts(file.name, file.size, file.checksum))
        while rest := stream.read(CHUNK):
            if rest.strip(b"\0"):
                raise Malformed("The file is not a usable artifact: something follows its end.")
    except ArtifactError as problem:
        raise Malformed(f"The file is not a usable artifact: {problem}.") from None
    return Facts(
        name=artifact.name,
        device_types=tuple(artifact.device_types),
        payload_type=artifact.payload_type,
        provides=dict(artifact.provides),
        depends={key: tuple(values) for key, values in artifact.depends.items()},
        clears=artifact.clears,
        signature=_signature(artifact, keys),
        files=tuple(files),
    )


def load_keys(pems: Sequence[bytes]) -> dict[str, PublicKey]:
    """Verification keys by the start of the SHA-256 of what was given; raises BadInput."""
    try:
        return {hashlib.sha256(pem.strip()).hexdigest()[:16]: load_public_key(pem) for pem in pems}
    except KeyRefused as problem:
        raise BadInput(f"An artifact key cannot be used: {problem}.") from None


def read_signature(told: Mapping[str, Any]) -> Signature | None:
    """What was kept of a signature, by this version or by the first, which kept only that there is one."""
    kept = told.get("signature")
    if kept is not None:
        return Signature(kept["key"])
    return Signature(None) if told.get("signed") else None


def _signature(artifact: ArtifactHead, keys: Mapping[str, PublicKey]) -> Signature | None:
    if artifact.signature is None:
        return None
    for name, key in keys.items():
        try:
            verify_signature(artifact.manifest, artifact.signature, (key,))
        except ArtifactError:
            continue
        return Signature(name)
    return Signature(None)


def _check_names(artifact: ArtifactHead) -> None:
    for name in (artifact.name, *artifact.device_types):
        if len(name) > LONGEST_NAME:
            raise Malformed(f"The names in an artifact may have {LONGEST_NAME} characters at most.")


def choose(candidates: Sequence[Artifact], provides: Mapping[str, str]) -> Artifact | None:
    """The artifact for a device that provides this: all it depends on must fit; the smallest if several do.

    `provides` includes device_type; the smallest is a delta where there is one for what the device runs.
    """
    suitable = [one for one in candidates if one.facts.suits(provides)]
    return min(suitable, key=lambda one: (one.size, one.id), default=None)
