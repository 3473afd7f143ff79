# SPDX-License-Identifier: Apache-2.0
"""JSON as the server accepts and writes it. Refuses what a database or another parser would choke on later."""

import json
import math
from typing import Any, NoReturn

from server_stub.errors import Malformed

# What is nested deeper can be read and kept, but not be shown: that ends at 255 levels.
DEEPEST = 32


def parse(text: bytes | str, what: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as problem:
        raise Malformed(f"{what} is not valid JSON: {problem}.") from None
    return checked(value, what)


def checked(value: Any, what: str) -> Any:
    """The value, if it can be kept in any database and shown again; raises Malformed."""
    level = [value]
    for _ in range(DEEPEST):
        for one in level:
            _check_plain(one, what)
        level = [inner for one in level for inner in _members(one)]
        if not level:
            return value
    raise Malformed(f"{what} is nested deeper than {DEEPEST} levels.")


def parse_object(text: bytes | str, what: str) -> dict[str, Any]:
    value = parse(text, what)
    if not isinstance(value, dict):
        raise Malformed(f"{what} must be a JSON object.")
    return value


def text_of(member: str, value: dict[str, Any]) -> str:
    """A member that must be there, be a string, and say something."""
    found = value.get(member)
    if not isinstance(found, str) or not found:
        raise Malformed(f'"{member}" is missing or not a text.')
    return found


def canonical(value: object) -> str:
    """One text for equal values: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False)


def _members(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *value.values()]
    return value if isinstance(value, list) else []


def _check_plain(value: Any, what: str) -> None:
    if isinstance(value, float) and not math.isfinite(value):
        raise Malformed(f"{what} is not valid JSON: {value} is no number of JSON.")
    if isinstance(value, str) and not _can_be_kept(value):
        raise Malformed(f"{what} holds a character that cannot be kept: NUL or half of a surrogate pair.")


def _can_be_kept(text: str) -> bool:
    """A lone surrogate parses, but has no UTF-8 form; and PostgreSQL takes no NUL."""
    try:
        return b"\0" not in text.encode()
    except UnicodeEncodeError:
        return False


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
