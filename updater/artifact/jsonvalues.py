# SPDX-License-Identifier: Apache-2.0
"""Strict JSON of an artifact's small files: one UTF-8 object, no duplicate keys, no NaN, typed access to its parts."""

import json
import math
from collections.abc import Mapping, Sequence
from typing import Any

from updater.artifact.errors import ArtifactError
from updater.artifact.names import MAX_TEXT, check_text, check_value, shown

MAX_ITEMS = 1024
"""Items of one list or map of strings."""


def parse_object(raw: bytes, what: str) -> dict[str, Any]:
    """The JSON object in `raw`; raises ArtifactError naming `what`."""
    try:
        value = json.loads(raw.decode("utf-8"), object_pairs_hook=_unique, parse_constant=_refuse, parse_float=_finite)
    except (ValueError, RecursionError) as error:
        raise ArtifactError(f"{what} is not valid JSON") from error
    if not isinstance(value, dict):
        raise ArtifactError(f"{what} is not a JSON object")
    return value


def required(parent: Mapping[str, Any], key: str, what: str) -> Any:
    """The value under `key`; raises ArtifactError when it is absent."""
    if key not in parent:
        raise ArtifactError(f"{what} does not state {key}")
    return parent[key]


def member_object(parent: Mapping[str, Any], key: str, what: str, allowed: Sequence[str] = ()) -> dict[str, Any]:
    """The object under `key`, empty when absent; with `allowed`, other keys in it are refused."""
    value = parent.get(key)
    if value is None:
        return {}
    if not isinstance(value, dict) or len(value) > MAX_ITEMS:
        raise ArtifactError(f"{key} of {what} is not an object of at most {MAX_ITEMS} keys")
    if allowed:
        refuse_unknown(value, allowed, f"{key} of {what}")
    return value


def refuse_unknown(value: Mapping[str, Any], allowed: Sequence[str], what: str) -> None:
    """Raise ArtifactError when `value` has a key that is not allowed."""
    for key in value:
        if key not in allowed:
            raise ArtifactError(f"{what} has the unknown key {shown(key)}")


def string_list(value: object, what: str, limit: int = MAX_TEXT) -> tuple[str, ...]:
    """A list of non-empty strings; raises ArtifactError."""
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise ArtifactError(f"{what} is not a list of at most {MAX_ITEMS} strings")
    return tuple(check_text(item, f"an item of {what}", limit) for item in value)


def accepted_values(value: object, what: str, limit: int) -> tuple[str, ...]:
    """The values a depends entry accepts: a string, or a list of at least one."""
    if isinstance(value, str):
        return (check_value(value, what, limit),)
    if not isinstance(value, list) or len(value) > MAX_ITEMS:
        raise ArtifactError(f"{what} is not a string or a list of at most {MAX_ITEMS} strings")
    if not value:
        raise ArtifactError(f"{what} accepts no value at all")
    return tuple(check_value(item, f"an item of {what}", limit) for item in value)


def render(value: object) -> bytes:
    """Compact JSON in the order of the keys; raises ArtifactError for text that is not Unicode, as bytes may become."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode("utf-8")
    except UnicodeEncodeError as error:
        raise ArtifactError("a text of the artifact is not UTF-8") from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    # Two parsers may disagree on which of two equal keys counts; a signed text must have one meaning.
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("duplicate key")
    return value


def _refuse(name: str) -> None:
    raise ValueError(name)


def _finite(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):  # parsers disagree on these too
        raise ValueError(digits)
    return number
