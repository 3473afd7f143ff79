# SPDX-License-Identifier: Apache-2.0
"""Deployment logs: what a device sends after a failure, and how a person reads it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from server_stub.domain import jsontext
from server_stub.errors import Malformed


@dataclass(frozen=True, slots=True)
class Line:
    timestamp: str
    level: str
    message: str


def read_log(body: bytes) -> tuple[Line, ...]:
    messages = jsontext.parse_object(body, "The body").get("messages")
    if not isinstance(messages, list) or not messages:
        raise Malformed('"messages" must be a list with at least one message.')
    return tuple(_line(one) for one in messages)


def render(lines: Sequence[Line]) -> str:
    return "".join(f"{line.timestamp} {line.level}: {line.message}\n" for line in lines)


def _line(value: object) -> Line:
    if not isinstance(value, Mapping) or not all(
        isinstance(value.get(member), str) for member in ("timestamp", "level", "message")
    ):
        raise Malformed("A message must have a timestamp, a level and a message, all texts.")
    try:
        moment = datetime.fromisoformat(value["timestamp"])
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Malformed(f"{value['timestamp']!r} is not an RFC 3339 time.")
    return Line(value["timestamp"], value["level"], value["message"])
