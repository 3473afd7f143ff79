# SPDX-License-Identifier: Apache-2.0
"""Attributes: what is known of a device, as names and values in scopes. Refuses values the protocol does not know."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from server_stub.domain import jsontext
from server_stub.errors import Malformed

Value = str | int | float | list[str]
MOST_ATTRIBUTES = 1000
# Each is a row, and whoever writes many of them keeps all others waiting.
MOST_VALUES = 5000
LONGEST_NAME = 512
# Beyond this a whole number loses digits in one database or another.
LARGEST = 2**53


class Scope(StrEnum):
    """Who says it: the device's identity, its inventory, the server, or the operator."""

    IDENTITY = "identity"
    INVENTORY = "inventory"
    SYSTEM = "system"
    TAGS = "tags"


@dataclass(frozen=True, slots=True)
class Attribute:
    scope: Scope
    name: str
    value: Value


def checked(pairs: Iterable[tuple[str, object]], scope: Scope) -> list[Attribute]:
    """The attributes by name, the last of each; raises Malformed."""
    found: dict[str, Attribute] = {}
    for name, value in pairs:
        if not name or len(name) > LONGEST_NAME:
            raise Malformed(f"The name of an attribute must have 1 to {LONGEST_NAME} characters.")
        found[name] = Attribute(scope, name, _value(name, value))
    check_room(len(found), sum(max(1, len(one.value)) if isinstance(one.value, list) else 1 for one in found.values()))
    return list(found.values())


def check_room(names: int, values: int) -> None:
    """Whether a device may have so many attributes of one scope, with so many values; raises Malformed."""
    if names > MOST_ATTRIBUTES:
        raise Malformed(f"A device has at most {MOST_ATTRIBUTES} attributes of one scope.")
    if values > MOST_VALUES:
        raise Malformed(f"The attributes of one scope have at most {MOST_VALUES} values.")


def of_identity(identity: str) -> list[Attribute]:
    """An identity's members as attributes, so that devices are found by them; what is no plain value as its text."""
    members: Mapping[str, Any] = jsontext.parse_object(identity, "The identity")
    return [
        Attribute(Scope.IDENTITY, name, value if _is_value(value) else jsontext.canonical(value))
        for name, value in members.items()
    ]


def _value(name: str, value: object) -> Value:
    if not _is_value(value):
        raise Malformed(f"The value of {name!r} must be a text, a number or a list of texts.")
    return value  # type: ignore[return-value]


def _is_value(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    if isinstance(value, int | float) and not isinstance(value, bool):
        return abs(value) <= LARGEST
    return isinstance(value, str)
