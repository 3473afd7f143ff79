# SPDX-License-Identifier: Apache-2.0
"""How the page says things: sizes, names of devices, statuses, and how a bar is divided. Pure functions of values."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from server_stub.domain.deployments import FINISHED, Status

LONGEST_LABEL = 80
# What a sliver of a bar has at least, in percent: one failure among 100,000 devices must be seen.
SLIVER = 1.0
# The kinds in which the page counts statuses, from the left of a bar to its right, with their words.
KINDS: Mapping[str, str] = {
    "done": "done",
    "failed": "failed",
    "ended": "ended otherwise",
    "working": "at work",
    "waiting": "waiting",
}
_STATUSES: Mapping[str, tuple[str, str]] = {
    # of a device's part in a deployment
    Status.PENDING: ("waiting", "waiting"),
    Status.DOWNLOADING: ("working", "downloading"),
    Status.INSTALLING: ("working", "installing"),
    Status.REBOOTING: ("working", "rebooting"),
    Status.PAUSE_BEFORE_INSTALLING: ("working", "paused before installing"),
    Status.PAUSE_BEFORE_REBOOTING: ("working", "paused before rebooting"),
    Status.PAUSE_BEFORE_COMMITTING: ("working", "paused before committing"),
    Status.SUCCESS: ("done", "success"),
    Status.FAILURE: ("failed", "failure"),
    Status.ALREADY_INSTALLED: ("done", "already installed"),
    Status.NOARTIFACT: ("ended", "no artifact fits"),
    Status.ABORTED: ("ended", "aborted"),
    Status.DECOMMISSIONED: ("ended", "decommissioned"),
    # of a device and its keys
    "accepted": ("done", "accepted"),
    "preauthorized": ("working", "preauthorized"),
    "rejected": ("failed", "rejected"),
    "noauth": ("ended", "without a key"),
    # of a deployment
    "running": ("working", "running"),
    "paused": ("ended", "paused"),
    "halted": ("failed", "halted"),
    "finished": ("done", "finished"),
}


@dataclass(frozen=True, slots=True)
class Segment:
    """A part of a bar; `x` and `width` in percent of it."""

    kind: str
    words: str
    number: int
    x: float
    width: float


def kind_of(status: str) -> str:
    return _STATUSES.get(status, ("ended", ""))[0]


def words_of(status: str) -> str:
    return _STATUSES.get(status, ("", status))[1]


def auth_words(status: str) -> str:
    """A device that waits, waits for the operator."""
    return "pending" if status == "pending" else words_of(status)


def size(number: int) -> str:
    """Bytes in the unit that a person would choose."""
    if number < 1000:
        return f"{number} bytes" if number != 1 else "1 byte"
    value, units = float(number), iter(("kB", "MB", "GB", "TB", "PB"))
    unit = ""
    while value >= 999.5:
        value, unit = value / 1000, next(units)
    return f"{value:.3g} {unit}"


def plural(number: int, one: str, many: str = "") -> str:
    return f"{number:,} {one if number == 1 else many or one + 's'}".replace(",", "\N{NO-BREAK SPACE}")


def label(identity: str | Mapping[str, Any]) -> str:
    """A device's identity, short enough for a row of a table."""
    members = json.loads(identity) if isinstance(identity, str) else identity
    told = " · ".join(str(value) for value in members.values()).strip()
    return (told[:LONGEST_LABEL] + "…" if len(told) > LONGEST_LABEL else told) or "a device without a name"


def value_text(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def segments(counts: Mapping[str, int]) -> list[Segment]:
    """How a bar is divided by the number of devices in each status."""
    numbers = dict.fromkeys(KINDS, 0)
    for status, number in counts.items():
        numbers[kind_of(status)] += number
    whole = sum(numbers.values())
    widths = {kind: max(number * 100 / whole, SLIVER) for kind, number in numbers.items() if number}
    scale = 100 / sum(widths.values()) if widths else 1
    found, x = [], 0.0
    for kind, width in widths.items():
        found.append(Segment(kind, KINDS[kind], numbers[kind], round(x, 2), round(width * scale, 2)))
        x += width * scale
    return found


def summary(counts: Mapping[str, int]) -> str:
    """A bar in words."""
    return ", ".join(f"{one.number} {one.words}" for one in segments(counts)) or "none yet"


def ended(counts: Mapping[str, int]) -> int:
    return sum(number for status, number in counts.items() if status in FINISHED)


def standing(deployment: Mapping[str, Any]) -> tuple[str, str]:
    """The kind and the words of how a deployment stands as a whole."""
    state = deployment["state"]
    if state == "aborted":
        return "ended", "aborted"
    if deployment["status"] == "finished":
        failed = deployment["statistics"]["status"].get(Status.FAILURE, 0)
        return ("failed", f"finished, {plural(failed, 'failure')}") if failed else ("done", "finished")
    if state in ("paused", "halted"):
        return kind_of(state), words_of(state)
    return ("waiting", "waiting for devices") if deployment["status"] == "pending" else ("working", "running")


def waits_for_operator(phases: Sequence[Mapping[str, Any]]) -> bool:
    """Whether a phase is left that only the operator can open."""
    return any(one["pause"] and one["start_ts"] is None for one in phases)
