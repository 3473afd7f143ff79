# SPDX-License-Identifier: Apache-2.0
"""An artifact signed anew: for a board that trusts the key of another machine."""

from __future__ import annotations

from pathlib import Path

from updater.artifact import load_private_key, sign_artifact


def signed_by(private_key: bytes, artifact: Path, out: Path) -> Path:
    """Write the artifact to `out`, signed with a key (PEM) instead of what it is signed with; returns `out`."""
    with artifact.open("rb") as source, out.open("wb") as target:
        sign_artifact(source, target, load_private_key(private_key), replace=True)
    return out
