# SPDX-License-Identifier: Apache-2.0
"""U-Boot's redundant environment, read as U-Boot reads it.

Owns the format of a copy and the choice between copies.  Refuses to repair, to merge copies, or to fill up a valid
copy from the compiled default: U-Boot does none of that either.  It believes nothing of a copy that it cannot import,
though, and takes the compiled default instead.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal

from harness.judge.medium import Medium
from images.layout import Layout

Slot = Literal["a", "b"]
SLOTS: tuple[Slot, ...] = ("a", "b")
CRC_BYTES = 4
BLANKS = b" \t"
SHELL_BLANKS = " \t\n"
DIGITS = "0123456789abcdef"
LONG, INT = 1 << 64, 1 << 32  # what U-Boot keeps a number in wraps there
SLOT_OF_PARTITION: dict[str, Slot] = {"1": "a", "2": "b"}
NO_VARIABLES: Mapping[str, str] = {}


@dataclass(frozen=True)
class EnvironmentCopy:
    """One copy; without a matching checksum there are no variables.

    The flag is outside the checksum, so that it stands for itself even in a valid copy.  A valid copy may still be
    `refused` when U-Boot imports it; it has no variables then, and no other copy is looked at.
    """

    valid: bool
    flag: int
    variables: Mapping[str, str] = field(default_factory=dict)
    refused: bool = False


@dataclass(frozen=True)
class Environment:
    """All copies, the index of the one U-Boot takes, and what was compiled into it for the case that none is valid."""

    copies: tuple[EnvironmentCopy, ...]
    active: int | None
    defaults: Mapping[str, str] = field(default_factory=dict)

    def as_dict(self) -> list[dict[str, object]]:
        """Every copy with its variables, as JSON can hold it."""
        return [
            {"valid": copy.valid, "flag": copy.flag, "active": number == self.active, **copy.variables}
            for number, copy in enumerate(self.copies)
        ]

    @property
    def variables(self) -> Mapping[str, str]:
        if self.active is None or self.copies[self.active].refused:
            return self.defaults
        return self.copies[self.active].variables

    @property
    def slot(self) -> Slot | None:
        """The active slot, None if the environment names none."""
        return slot_named(self.variables.get("mender_boot_part"))

    @property
    def upgrade_available(self) -> bool:
        return number(self.variables, "upgrade_available") % INT != 0

    @property
    def bootcount(self) -> int:
        return number(self.variables, "bootcount")

    @property
    def bootlimit(self) -> int:
        return number(self.variables, "bootlimit")


def slot_named(partition: str | None) -> Slot | None:
    """The slot on the partition of this (decimal) number; blanks after it are lost in U-Boot's scripts."""
    return None if partition is None else SLOT_OF_PARTITION.get(partition.rstrip(SHELL_BLANKS))


def number(variables: Mapping[str, str], name: str) -> int:
    """A variable as U-Boot reads a number: the leading digits (hexadecimal ones after 0x), 0 if there are none."""
    text = variables.get(name, "")
    base, digits = (16, text[2:]) if text[:2].lower() == "0x" else (10, text)
    value = 0
    for digit in digits:
        worth = DIGITS.find(digit.lower())
        if not 0 <= worth < base:
            break
        value = (value * base + worth) % LONG
    return value


def read_environment(medium: Medium, layout: Layout, defaults: Mapping[str, str] = NO_VARIABLES) -> Environment:
    """The environment on the card of a board."""
    return parse_copies([medium.read(layout.card.start + at, layout.env_size) for at in layout.env_offsets], defaults)


def parse_copies(copies: Sequence[bytes], defaults: Mapping[str, str] = NO_VARIABLES) -> Environment:
    """The environment of which these are all copies."""
    parsed = tuple(parse_copy(one, redundant=len(copies) > 1) for one in copies)
    return Environment(parsed, choose(parsed), defaults)


def parse_copy(data: bytes, *, redundant: bool = True) -> EnvironmentCopy:
    """Read one copy of exactly the size of the environment; damage makes it invalid and never raises."""
    header = CRC_BYTES + redundant
    if len(data) <= header:
        return EnvironmentCopy(False, 0)
    flag = data[CRC_BYTES] if redundant else 0
    area = data[header:]
    if zlib.crc32(area) != int.from_bytes(data[:CRC_BYTES], "little"):
        return EnvironmentCopy(False, flag)
    variables = _variables(area)
    return EnvironmentCopy(True, flag, variables or {}, refused=variables is None)


def choose(copies: Sequence[EnvironmentCopy]) -> int | None:
    """The index of the copy that U-Boot takes: the valid one, of two valid ones the newer one.

    The flag counts the writes and wraps from 255 to 0; equal flags leave the first.
    """
    if not 1 <= len(copies) <= 2:
        raise ValueError(f"U-Boot keeps one or two copies of its environment, not {len(copies)}.")
    valid = [index for index, copy in enumerate(copies) if copy.valid]
    if len(valid) < 2:
        return valid[0] if valid else None
    first, second = copies[0].flag, copies[1].flag
    if {first, second} == {0, 0xFF}:
        return 0 if first == 0 else 1
    return 1 if second > first else 0


def encode_copy(variables: Mapping[str, str], flag: int | None, size: int) -> bytes:
    """A valid copy of `size` bytes, as U-Boot would save it; without a flag it is not a redundant one.

    Raises:
        ValueError: a name or value would not come back, or they do not fit.
    """
    entries = b""
    for name, value in sorted(variables.items()):
        entry = _bytes(name) + b"=" + _bytes(value).replace(b"\\", b"\\\\")
        if _variables(entry + b"\0\0") != {name: value}:
            raise ValueError(f"U-Boot's environment cannot hold {name!r} with the value {value!r}.")
        entries += entry + b"\0"
    mark = b"" if flag is None else bytes([flag])
    room = size - CRC_BYTES - len(mark)
    if len(entries) + 1 > room:
        raise ValueError(f"{len(entries) + 1} bytes of variables do not fit into {room}.")
    area = entries.ljust(room, b"\0")
    return zlib.crc32(area).to_bytes(CRC_BYTES, "little") + mark + area


def parse_text(text: str) -> dict[str, str]:
    """The compiled default from its source, a line `name=value` for each variable."""
    lines = (line for line in text.splitlines() if "=" in line and not line.lstrip().startswith("#"))
    return {name: value for name, _, value in (line.partition("=") for line in lines)}


def _variables(area: bytes) -> dict[str, str] | None:
    """The variables up to the first empty entry; the last of several of a name counts, an empty value removes it.

    An entry with a value but without a name makes U-Boot refuse the whole import: None.
    """
    found: dict[str, str] = {}
    for raw in area.partition(b"\0\0")[0].split(b"\0"):
        entry = raw.lstrip(BLANKS)
        if entry.startswith(b"#"):
            continue
        name, _, value = entry.partition(b"=")
        if not value:
            found.pop(_text(name), None)
        elif not name:
            return None
        else:
            found[_text(name)] = _text(re.sub(rb"\\(.)", rb"\1", value, flags=re.DOTALL))
    return found


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")
