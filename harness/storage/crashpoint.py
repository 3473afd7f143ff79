# SPDX-License-Identifier: Apache-2.0
"""A power cut as a value, and its text.

Owns the text alone.  Refuses to say whether a log allows the point: that is the business of `harness.storage.crash`.
"""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from typing import Final, Literal

TEXT: Final = re.compile(
    r"([0-9]+)(?:,lost=([0-9]+(?:[-+][0-9]+)*))?(?:,torn=(?:([0-9]+):)?([0-9]+))?(?:,tail=(zeros|ones))?"
)
MOST_LOST: Final = 1 << 20  # writes in a row
Tail = Literal["zeros", "ones"]
TAILS: Final[dict[str | None, Tail]] = {"zeros": "zeros", "ones": "ones"}


@dataclass(frozen=True, slots=True)
class CrashPoint:
    """A power cut as a value.

    Its text is short and safe in file names and shells: `1234`, `1234,lost=1200-1203+1210`, `1234,torn=512`,
    `1234,lost=1200,torn=512`, `1234,torn=1201:512`, `1234,tail=zeros`.

    Attributes:
        position: how many operations had completed when power failed.
        lost: the indices of the un-flushed writes that did not reach the medium.
        torn: how many bytes of the torn write reached the medium; None: none is torn.
        tore: the index of the torn write; None: the one that `tearable` names.
        tail: what the end of the last write reads as; None: what was written.
    """

    position: int
    lost: frozenset[int] = frozenset()
    torn: int | None = None
    tore: int | None = None
    tail: Tail | None = None

    def __str__(self) -> str:
        lost = f",lost={_ranges(self.lost)}" if self.lost else ""
        which = f"{self.tore}:" if self.tore is not None else ""
        torn = f",torn={which}{self.torn}" if self.torn is not None else ""
        tail = f",tail={self.tail}" if self.tail is not None else ""
        return f"{self.position}{lost}{torn}{tail}"

    @classmethod
    def parse(cls, text: str) -> CrashPoint:
        """The crash point that has this text.

        Raises:
            ValueError: no crash point has it.
        """
        match = TEXT.fullmatch(text)
        if match is not None:
            position, lost, tore, torn, tail = match.groups()
            point = cls(int(position), _indices(lost), _number(torn), _number(tore), TAILS.get(tail))
            if str(point) == text:
                return point
        raise ValueError(f"'{text}' is not a crash point such as '1234,lost=1200-1203+1210,torn=512'.")


def _number(text: str | None) -> int | None:
    return None if text is None else int(text)


def _ranges(indices: Collection[int]) -> str:
    """Indices as text, neighbours as ranges: `3-5+9`."""
    ranges: list[list[int]] = []
    for index in sorted(indices):
        if ranges and ranges[-1][1] == index - 1:
            ranges[-1][1] = index
        else:
            ranges.append([index, index])
    return "+".join(str(first) if first == last else f"{first}-{last}" for first, last in ranges)


def _indices(text: str | None) -> frozenset[int]:
    """What `_ranges` made into text; anything for other text, as long as it is numbers, `-` and `+`.

    Raises:
        ValueError: they are more than any log has.
    """
    indices: set[int] = set()
    for part in text.split("+") if text else ():
        first, *last = (int(number) for number in part.split("-"))
        if (last or [first])[0] - first > MOST_LOST:
            raise ValueError(f"'{part}' is too many.")
        indices.update(range(first, (last or [first])[0] + 1))
    return frozenset(indices)
