# SPDX-License-Identifier: Apache-2.0
"""Moments as the server writes them: RFC 3339, UTC, microseconds. The only place that reads the wall clock."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta

# What a laboratory adds to the clock for one request: the others, and the operator's, see the true time.
_off_by: ContextVar[timedelta] = ContextVar("off_by", default=timedelta())


def now() -> datetime:
    return datetime.now(UTC) + _off_by.get()


@contextmanager
def off_by(seconds: int) -> Iterator[None]:
    """For what is done inside (also in threads that it hands work to), the clock is off."""
    before = _off_by.set(timedelta(seconds=seconds))
    try:
        yield
    finally:
        _off_by.reset(before)


def stamp(moment: datetime) -> str:
    """Fixed width, so that stamps sort as text in the order of time."""
    return moment.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


def read_stamp(text: str) -> datetime:
    """A moment that `stamp` wrote."""
    return datetime.fromisoformat(text)
