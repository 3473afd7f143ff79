# SPDX-License-Identifier: Apache-2.0
"""What a device has and what an artifact asks for: pure rules over maps of strings.

A device's stored provides are one map that also holds artifact_name and artifact_group (Mender artifact format v3,
the client's commit algorithm).
"""

from collections.abc import Mapping

from updater.artifact.header import Header
from updater.artifact.names import shown


def matches(pattern: str, key: str) -> bool:
    """Whether the whole key fits the pattern, where each `*` stands for any run of characters and nothing else does."""
    head, *rest = pattern.split("*")
    if not rest:
        return key == pattern
    *middle, tail = rest
    at, end = len(head), len(key) - len(tail)
    if end < at or not key.startswith(head) or not key.endswith(tail):
        return False
    # The leftmost place for each part is always as good as any other, so no backtracking is needed.
    for part in middle:
        found = key.find(part, at, end)
        if found < 0:
            return False
        at = found + len(part)
    return True


def apply_provides(stored: Mapping[str, str], artifact: Header) -> dict[str, str]:
    """What the device provides once the artifact is committed.

    Keys matching the artifact's clears go, its provides come. Absent clears clear everything; an artifact with
    neither (the oldest kind) therefore leaves only its name and group. The artifact's own name and group win.
    """
    patterns = ("*",) if artifact.clears is None else artifact.clears
    kept = {key: value for key, value in stored.items() if not any(matches(pattern, key) for pattern in patterns)}
    group = {} if artifact.group is None else {"artifact_group": artifact.group}
    return {**kept, **artifact.provides, **group, "artifact_name": artifact.name}


def unmet_depends(artifact: Header, *, device_type: str, stored: Mapping[str, str]) -> str | None:
    """One sentence saying why the artifact does not fit this device, or None when it does."""
    if device_type not in artifact.device_types:
        wanted = ", ".join(artifact.device_types)
        return f"the artifact is for device type {wanted}, and this device is {shown(device_type)}"
    for key, accepted in artifact.depends.items():
        if key not in stored:
            return f"the artifact depends on {shown(key)}, which this device does not provide"
        if stored[key] not in accepted:
            wanted = " or ".join(shown(value) for value in accepted)
            return f"the artifact depends on {shown(key)} being {wanted}, and this device provides {shown(stored[key])}"
    return None
