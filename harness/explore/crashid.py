# SPDX-License-Identifier: Apache-2.0
"""The short text by which one crash point can be told to somebody else:

    managed-7-9e24510c4@install.flip+37,lost=1-3,torn=512

The story (`managed-again`: the recovery from a cut of it) and its seed, six characters of the recording and three of
what it was made of, the step that was named last before the cut (`#2` behind it: the second of that name), how many
operations later the cut came, and what it left: `lost=1-3` are the last three operations before it.  Where a report was
on its way, `,heard` says that the server had it.  So it names the point in the recording exactly, and in another
recording of the same story the one that is nearest.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from typing import Final

from harness.errors import UsageError
from harness.explore.recording import Heard, Recording
from harness.storage import CrashPoint, crash_extents

BEGIN: Final = "begin"
AGAIN: Final = "-again"  # behind the story: of the recovery from another cut
HEARD: Final = ",heard"
TEXT: Final = re.compile(
    r"(?P<story>[a-z][a-z-]*)-(?P<seed>[0-9]{1,20})-(?P<recording>[0-9a-f]{6})(?P<inputs>[0-9a-f]{3})?"
    r"@(?P<mark>[^#+,\s]+)(?:#(?P<number>[1-9][0-9]{0,8}))?\+(?P<point>[^\s]+?)(?P<heard>,heard)?"
)


@dataclass(frozen=True)
class CrashId:
    """The text taken apart; all of `point` is counted from its own position, or from the mark."""

    story: str
    seed: int
    recording: str
    mark: str
    number: int
    point: CrashPoint
    heard: bool = False
    inputs: str = ""  # empty: not said

    @property
    def is_recovery(self) -> bool:
        """Whether it is of the recovery from another cut, which only its recording knows."""
        return self.story.endswith(AGAIN)

    @classmethod
    def of(cls, recording: Recording, point: CrashPoint, heard: Heard) -> CrashId:
        """The one of a point of this recording."""
        about = recording.about
        place, mark, number = about.began, BEGIN, 1
        seen: dict[str, int] = {}
        for position, one in recording.marks:
            if about.began < position <= point.position:
                seen[one.name] = seen.get(one.name, 0) + 1
                place, mark, number = position, one.name, seen[one.name]
        relative = replace(_mirrored(point), position=point.position - place)
        under_way = heard.position > point.position
        return cls(
            _story(recording), about.seed, recording.identity, mark, number, relative, under_way, recording.inputs
        )

    @classmethod
    def parse(cls, text: str) -> CrashId:
        """The crash ID that has this text.

        Raises:
            UsageError: none has it.
        """
        match = TEXT.fullmatch(text)
        try:
            if match is None:
                raise ValueError
            point = CrashPoint.parse(match["point"])
        except ValueError:
            said = f"{text!r} is no crash ID such as 'managed-7-9e24510c4@install.flip+37,lost=1-3,torn=512'."
            raise UsageError(said, "Copy it whole from a report.") from None
        number = int(match["number"] or 1)
        return cls(
            match["story"],
            int(match["seed"]),
            match["recording"],
            match["mark"],
            number,
            point,
            bool(match["heard"]),
            match["inputs"] or "",
        )

    def __str__(self) -> str:
        number = f"#{self.number}" if self.number > 1 else ""
        heard = HEARD if self.heard else ""
        return f"{self.story}-{self.seed}-{self.recording}{self.inputs}@{self.mark}{number}+{self.point}{heard}"

    def within(self, recording: Recording) -> tuple[CrashPoint, Heard]:
        """The point, and what the server had heard.

        Raises:
            UsageError: the recording has no such place or point, or is of another update.
        """
        if self.inputs not in ("", recording.inputs):
            said = f"What recording {recording.identity} was made of has the characters {recording.inputs}"
            raise UsageError(f"{said}, not {self.inputs}.", "Copy the crash ID once more.")
        if (self.story, self.seed) != (_story(recording), recording.about.seed):
            said = f"Recording {recording.identity} is of '{_story(recording)}' with seed {recording.about.seed}."
            raise UsageError(said, f"Copy the crash ID once more: {self} is none of it.")
        position = self._place(recording) + self.point.position
        if position > recording.about.ended:
            raise UsageError(f"The recording ends before {self}.", "It belongs to another one.")
        point = _mirrored(replace(self.point, position=position))
        try:
            crash_extents(recording.log, point, recording.about.layout)
        except ValueError as error:
            raise UsageError(f"{self} is no point of its recording: {error}", "Copy it once more.") from error
        possible = recording.heard_at(position)
        if self.heard and len(possible) == 1:
            raise UsageError(f"No report was on its way at {self}.", "Leave out ',heard', or copy it once more.")
        return point, possible[-1 if self.heard else 0]

    def _place(self, recording: Recording) -> int:
        if self.mark == BEGIN and self.number == 1:
            return recording.about.began
        named = [at for at, one in recording.marks if one.name == self.mark and at > recording.about.began]
        if len(named) < self.number:
            said = f"The recording names the step '{self.mark}' {len(named)} times, not {self.number}."
            raise UsageError(said, "The crash ID belongs to another one.")
        return named[self.number - 1]


def _story(recording: Recording) -> str:
    return recording.about.story + AGAIN * bool(recording.about.first)


def _mirrored(point: CrashPoint) -> CrashPoint:
    """Indices of operations as distances before the position, and the other way round."""
    lost = frozenset(point.position - index for index in point.lost)
    return replace(point, lost=lost, tore=None if point.tore is None else point.position - point.tore)
