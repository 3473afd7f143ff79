# SPDX-License-Identifier: Apache-2.0
"""Moments as the server writes them: RFC 3339, UTC, microseconds. The only place that reads the wall clock."""

from datetime import UTC, datetime


def now() -> datetime:
    return datetime.now(UTC)


def stamp(moment: datetime) -> str:
    """Fixed width, so that stamps sort as text in the order of time."""
    return moment.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def read_stamp(text: str) -> datetime:
    """A moment that `stamp` wrote."""
    return datetime.fromisoformat(text)
