# SPDX-License-Identifier: Apache-2.0
"""Deployment logs: what a device sends after a failure, and how a person reads it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from server_stub.errors import Malformed


@dataclass(frozen=True, slots=True)
class Line:
    timestamp: str
    level: str
    message: str


def line(timestamp: str, level: str, message: str) -> Line:
    """A line as a device sends it; raises Malformed."""
    try:
        moment = datetime.fromisoformat(timestamp)
    except ValueError:
        moment = None
    if moment is None or moment.tzinfo is None:
        raise Malformed(f"{timestamp[:80]!r} is not an RFC 3339 time.")
    return Line(_kept(timestamp), _kept(level), _kept(message))


def render(lines: Sequence[Line]) -> str:
    return "".join(f"{one.timestamp} {one.level}: {one.message}\n" for one in lines)


def _kept(text: str) -> str:
    """A log is kept whatever it holds; what no database takes becomes the sign for a character that was lost."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}")
