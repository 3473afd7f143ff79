# SPDX-License-Identifier: Apache-2.0
"""The mark strip: where an updater may write the name of the step it is at, so that it stands in the log in order.

Owns the mark's format and the finding of marks in a log.  Refuses to know which steps there are: names are the
updater's own, and an updater has its own encoder for this format.

A mark is one sector of 512 bytes, written anywhere within the `marks` window:

    bootproof-mark LF
    <number, decimal, no leading zeros> LF
    <name, UTF-8, not empty, without LF and NUL> LF
    zero bytes to the end of the sector
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.storage.writelog import Kind, WriteLog
from images.layout import Layout

SECTOR: Final = 512
TITLE: Final = "bootproof-mark"


@dataclass(frozen=True, slots=True)
class Mark:
    """A step that an updater named: its number (not negative) and its name."""

    number: int
    name: str


def encode(number: int, name: str) -> bytes:
    """The 512 bytes of a mark.

    Raises:
        ValueError: the number is negative, or the name is empty, too long, or holds a line feed or NUL.
    """
    if number < 0:
        raise ValueError(f"A mark's number cannot be negative: {number}.")
    if not name or "\n" in name or "\0" in name:
        raise ValueError(f"A mark's name must be one line of text: {name!r}.")
    text = f"{TITLE}\n{number}\n{name}\n".encode()
    if len(text) > SECTOR:
        raise ValueError(f"A mark must fit into {SECTOR} bytes; this one takes {len(text)}.")
    return text.ljust(SECTOR, b"\0")


def decode(data: bytes) -> Mark | None:
    """The mark in these 512 bytes, or None if they are anything but exactly one mark."""
    if len(data) != SECTOR or not data.startswith(TITLE.encode()):
        return None
    try:
        title, number, name, rest = data.rstrip(b"\0").decode().split("\n")
        mark = Mark(int(number), name)
        return mark if title == TITLE and not rest and encode(mark.number, mark.name) == data else None
    except ValueError:
        return None


def marks(log: WriteLog, layout: Layout) -> list[tuple[int, Mark]]:
    """All marks in the log, in order, each with the position right after it (as in `CrashPoint.position`).

    A write of several sectors (a block of the guest's page cache, say) repeats the older marks around the new one;
    of such a write only the sectors that change the strip count.

    Raises:
        LogError: the log cannot be read.
    """
    strip: dict[int, bytes] = {}
    found: list[tuple[int, Mark]] = []
    for operation in log.operations:
        if operation.kind is not Kind.WRITE or operation.address not in layout.marks:
            continue
        data = log.data(operation)
        for start in range(0, len(data), SECTOR):
            sector = data[start : start + SECTOR]
            address = operation.address + start
            repeated = len(data) > SECTOR and strip.get(address) == sector
            strip[address] = sector
            mark = None if repeated else decode(sector)
            if mark is not None:
                found.append((operation.index + 1, mark))
    return found
