# SPDX-License-Identifier: Apache-2.0
"""A deployment as the server announces it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from updater.errors import ServerError

NAME_LIMIT, ADDRESS_LIMIT = 256, 8192  # characters; the names are kept, and shown in logs


@dataclass(frozen=True)
class Deployment:
    """What the server wants installed.  `update_control_map` is carried as it came; empty if there was none."""

    id: str
    artifact_name: str
    uri: str
    device_types: tuple[str, ...]
    update_control_map: Mapping[str, Any] = field(default_factory=dict)


def parse_deployment(body: bytes) -> Deployment:
    """Read a server's announcement; what is not known in it is left alone.

    Raises:
        ServerError: something is missing, empty, of the wrong type, too long, or cannot be printed.
    """
    try:
        answer = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise ServerError(f"The server's deployment cannot be understood: {error}.") from error
    artifact = _member(answer, "artifact", dict)
    types = _member(artifact, "device_types_compatible", list)
    if not all(isinstance(kind, str) and kind for kind in types):
        raise _wrong("device_types_compatible")
    control = answer.get("update_control_map")
    if control is not None and not isinstance(control, dict):
        raise _wrong("update_control_map")
    return Deployment(
        id=_text(answer, "id", NAME_LIMIT),
        artifact_name=_text(artifact, "artifact_name", NAME_LIMIT),
        uri=_text(_member(artifact, "source", dict), "uri", ADDRESS_LIMIT),
        device_types=tuple(types),
        update_control_map=control or {},
    )


def _member(holder: Any, name: str, kind: type) -> Any:
    found = holder.get(name) if isinstance(holder, dict) else None
    if not isinstance(found, kind) or not found:
        raise _wrong(name)
    return found


def _text(holder: Any, name: str, limit: int) -> str:
    found: str = _member(holder, name, str)
    if len(found) > limit or not found.isprintable():
        raise ServerError(f"The server's deployment is not taken: '{name}' is too long or does not print.")
    return found


def _wrong(name: str) -> ServerError:
    return ServerError(f"The server's deployment cannot be understood: '{name}' is missing, empty or of a wrong type.")
