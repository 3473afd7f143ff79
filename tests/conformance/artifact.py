# SPDX-License-Identifier: Apache-2.0
"""The artifact of a case."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from tests.conformance.scripts import MODULE
from updater.artifact import write_bootstrap_artifact, write_module_artifact

NAME = "artifact-name"
PAYLOAD = b"what the update brings\n"


def write_artifact(path: Path, device_type: str, scripts: Mapping[str, str]) -> None:
    """A small artifact for the test module."""
    payload = path.with_suffix(".payload")
    payload.write_bytes(PAYLOAD)
    with path.open("wb") as out:
        write_module_artifact(
            out,
            payload_type=MODULE,
            files=[payload],
            name=NAME,
            device_types=[device_type],
            scripts={name: text.encode() for name, text in scripts.items()},
        )


def write_empty_artifact(path: Path, device_type: str) -> None:
    """A bootstrap artifact: it says what is installed and brings nothing."""
    with path.open("wb") as out:
        write_bootstrap_artifact(out, name=NAME, device_types=[device_type])
