# SPDX-License-Identifier: Apache-2.0
"""Byte ranges of HTTP: which part of a file a request means. Takes one range; several are answered with the whole."""

import re
from dataclasses import dataclass

# Eighteen digits are more than any file has, and keep the numbers small.
_RANGE = re.compile(r"bytes=([0-9]{0,18})-([0-9]{0,18})", re.IGNORECASE)


class Unsatisfiable(Exception):
    """The range begins behind the end of the file."""


@dataclass(frozen=True, slots=True)
class Span:
    """From the first to the last byte, both included."""

    first: int
    last: int

    @property
    def length(self) -> int:
        return self.last - self.first + 1


def read_range(header: str | None, size: int) -> Span | None:
    """None means the whole file: a header that is not one plain range is to be ignored (RFC 9110, 14.2)."""
    match = _RANGE.fullmatch((header or "").strip())
    if match is None or not any(match.groups()):
        return None
    first_text, last_text = match.groups()
    if not first_text:
        first, last = max(0, size - int(last_text)), size - 1
    else:
        first, last = int(first_text), int(last_text) if last_text else size - 1
        if last_text and last < first:
            return None
    if first >= size:
        raise Unsatisfiable
    return Span(first, min(last, size - 1))
