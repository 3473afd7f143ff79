# SPDX-License-Identifier: Apache-2.0
"""How long a server asks to be left alone: the header `Retry-After`."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

LONGEST_WAIT = 24 * 3600.0  # seconds; a server that asks for more is asked again all the same


def retry_after(headers: Mapping[str, str], now: datetime) -> float | None:
    """Seconds to wait, at most `LONGEST_WAIT`; None if nothing was asked or it cannot be understood.

    A time of day counts from the server's own `Date` if there is one, because a device's clock may be years off.
    """
    asked = headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdecimal():
        return min(float(asked), LONGEST_WAIT)
    until = _time(asked)
    if until is None:
        return None
    start = _time(headers.get("date", "")) or now
    return min(max((until - start).total_seconds(), 0.0), LONGEST_WAIT)


def _time(text: str) -> datetime | None:
    try:
        found = parsedate_to_datetime(text)
    except (ValueError, TypeError, OverflowError, IndexError):
        return None
    return found if found.tzinfo else found.replace(tzinfo=UTC)
