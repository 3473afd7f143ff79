# SPDX-License-Identifier: Apache-2.0
"""JSON as the server accepts and writes it. Refuses what a database or another parser would choke on later."""

import json
from typing import Any, NoReturn

from server_stub.errors import Malformed


def parse(text: bytes | str, what: str) -> Any:
    try:
        value = json.loads(text, parse_constant=_refuse_constant)
        # A lone surrogate parses, but has no UTF-8 form and would fail only when it is stored.
        json.dumps(value, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as problem:
        raise Malformed(f"{what} is not valid JSON: {problem}.") from None
    return value


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


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is no number of JSON")
