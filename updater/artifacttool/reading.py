# SPDX-License-Identifier: Apache-2.0
"""`read` and `validate`: an artifact read to its last byte, and what it says of itself for people or programs."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from updater.artifact import Artifact, PublicKey, read_artifact
from updater.artifacttool.exits import ExitCode
from updater.artifacttool.files import opened, verify_keys


@dataclass(frozen=True)
class FileFacts:
    """A payload file: name, size in bytes, seconds since 1970, SHA-256 as hex."""

    name: str
    size: int
    modified: int
    checksum: str

    @property
    def when(self) -> datetime:
        return datetime.fromtimestamp(self.modified, UTC)


def read(options: argparse.Namespace) -> ExitCode:
    """Print what the artifact says of itself, once all of it is known to be right."""
    keys = verify_keys(options.key)
    artifact, files = _read_whole(options, keys)
    if options.json:
        print(json.dumps(_document(artifact, files, verified=bool(keys)), indent=1))
    else:
        print("\n".join(_lines(artifact, files, verified=bool(keys))))
    return ExitCode.OK


def validate(options: argparse.Namespace) -> ExitCode:
    """Say that the artifact is valid, and how far its signature was looked at."""
    keys = verify_keys(options.key)
    artifact, _ = _read_whole(options, keys)
    unchecked = " Its signature was not verified, because no key is given." if artifact.signed and not keys else ""
    print(f"The artifact {options.artifact} is valid.{unchecked}")
    return ExitCode.OK


def _read_whole(options: argparse.Namespace, keys: Sequence[PublicKey]) -> tuple[Artifact, list[FileFacts]]:
    with opened(options.artifact) as source:
        artifact = read_artifact(source, verify_keys=keys)
        # Asking for the next file reads and verifies the one before.
        files = [FileFacts(file.name, file.size, file.modified, file.checksum) for file in artifact.files()]
    return artifact, files


def _document(artifact: Artifact, files: Sequence[FileFacts], *, verified: bool) -> dict[str, Any]:
    return {
        "name": artifact.name,
        "format": "mender",
        "version": 3,
        "signature": ("verified" if verified else "unverified") if artifact.signed else None,
        "device_types": list(artifact.device_types),
        "group": artifact.group,
        "payload_type": artifact.payload_type,
        "provides": dict(artifact.provides),
        "depends": {key: list(values) for key, values in artifact.depends.items()},
        "clears_provides": None if artifact.clears is None else list(artifact.clears),
        "scripts": list(artifact.scripts),
        "meta_data": json.loads(artifact.meta_data) if artifact.meta_data else None,
        "files": [
            {"name": file.name, "size": file.size, "modified": file.when.isoformat(), "checksum": file.checksum}
            for file in files
        ],
    }


def _lines(artifact: Artifact, files: Sequence[FileFacts], *, verified: bool) -> list[str]:
    signature = "no signature"
    if artifact.signed:
        signature = "signed and verified correctly" if verified else "signed, not verified (give the key with -k)"
    depends = {key: _listed(values) for key, values in artifact.depends.items()}
    return [
        "Mender artifact:",
        f"  Name: {artifact.name}",
        "  Format: mender",
        "  Version: 3",
        f"  Signature: {signature}",
        f"  Compatible devices: {_listed(artifact.device_types)}",
        f"  Provides group: {artifact.group or ''}".rstrip(),
        f"  Depends on one of artifact(s): {depends.pop('artifact_name', '[]')}",
        f"  Depends on one of group(s): {depends.pop('artifact_group', '[]')}",
        "  State scripts:" if artifact.scripts else "  State scripts: None",
        *(f"    {name}" for name in artifact.scripts),
        "",
        "Payload:",
        f"  Type: {artifact.payload_type or 'None (bootstrap artifact)'}",
        *_pairs("Provides", artifact.provides),
        *_pairs("Depends", depends),
        # Without this key a device forgets everything it provided, which is not the same as nothing.
        f"  Clears provides: {'not stated' if artifact.clears is None else _listed(artifact.clears)}",
        *_meta_data(artifact.meta_data),
        *_files(files),
    ]


def _listed(values: Sequence[str]) -> str:
    return f"[{', '.join(values)}]"


def _pairs(title: str, pairs: Mapping[str, str]) -> list[str]:
    if not pairs:
        return [f"  {title}: Nothing"]
    return [f"  {title}:", *(f"    {key}: {pairs[key]}" for key in sorted(pairs))]


def _meta_data(raw: bytes) -> list[str]:
    if not raw:
        return ["  Metadata: Nothing"]
    text = json.dumps(json.loads(raw), indent=2)
    return ["  Metadata:", *(f"    {line}" for line in text.splitlines())]


def _files(files: Sequence[FileFacts]) -> list[str]:
    if not files:
        return ["  Files: None"]
    lines = ["  Files:"]
    for file in files:
        lines += [
            f"    name:     {file.name}",
            f"    size:     {file.size}",
            f"    modified: {file.when:%Y-%m-%d %H:%M:%S} UTC",
            f"    checksum: {file.checksum}",
        ]
    return lines
