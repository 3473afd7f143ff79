# SPDX-License-Identifier: Apache-2.0
"""Inventory: what a device tells about itself, as names and values. Refuses values the protocol does not know."""

from collections.abc import Mapping
from typing import Any

from server_stub.domain import jsontext
from server_stub.errors import Malformed


def read_attributes(body: bytes) -> Mapping[str, Any]:
    listed = jsontext.parse(body, "The body")
    if not isinstance(listed, list):
        raise Malformed("The body must be a list of attributes.")
    attributes: dict[str, Any] = {}
    for one in listed:
        if not isinstance(one, dict):
            raise Malformed("An attribute must be an object with a name and a value.")
        name, value = jsontext.text_of("name", one), one.get("value")
        if not _is_value(value):
            raise Malformed(f"The value of {name!r} must be a text, a number or a list of texts.")
        attributes[name] = value
    return attributes


def _is_value(value: object) -> bool:
    if isinstance(value, list):
        return all(isinstance(item, str) for item in value)
    return isinstance(value, str | int | float) and not isinstance(value, bool)
