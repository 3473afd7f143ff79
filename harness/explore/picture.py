# SPDX-License-Identifier: Apache-2.0
"""The picture of an update: operations across, addresses up in a lane for each area, every write in the colour of what
a cut right after it leads to.  SVG, complete in itself, readable on a light and on a dark page."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from html import escape
from itertools import groupby
from typing import Final

from harness.explore.recording import Recording
from harness.storage import Kind, Operation
from images.layout import Layout

LEFT, TOP, WIDTH, LANE, GAP, LEGEND, MARGIN = 150, 150, 1150, 62, 14, 34, 90
THIN: Final = 3.0  # pixels of a write that is too small to be seen, and of one operation at the least
LABEL: Final = 13  # pixels between two marks' names
# What a cut leads to: colours that are told apart also by people who see few of them (Okabe and Ito's).
COLOURS: Final = {
    "old": ("#0072b2", "the old one is there in the end"),
    "new": ("#009e73", "the new one is there in the end"),
    "both": ("#e69f00", "one or the other, by what was lost"),
    "inconsistent": ("#cc79a7", "the device says that it is neither: no way back"),
    "violated": ("#d55e00", "a rule is violated"),
    "unknown": ("#999999", "not examined"),
}
STYLE: Final = """
text { font: 11px sans-serif; fill: #222 } .name { font-size: 12px; font-weight: 600 } .lane { fill: #8883 }
.flush { stroke: #888; stroke-width: .6 } .mark { stroke: #555; stroke-width: .6; stroke-dasharray: 2 2 }
svg { background: #fff }
@media (prefers-color-scheme: dark) { svg { background: #15171a } text { fill: #ddd } .mark { stroke: #aaa } }
"""


@dataclass(frozen=True)
class Lane:
    """An area of the image, in bytes, and where it is drawn."""

    name: str
    start: int
    end: int
    top: float

    def box(self, operation: Operation) -> tuple[float, float]:
        """Where a write lies in the lane: top and height in pixels; low addresses are at the bottom."""
        scale = LANE / (self.end - self.start)
        height = max(THIN, operation.length * scale)
        bottom = self.top + LANE - (operation.address - self.start) * scale
        return max(self.top, bottom - height), height


def lanes(layout: Layout) -> list[Lane]:
    """From top to bottom: the data partition, the slots, the partition table, the environment's copies."""
    table, _ = layout.outside
    areas = [(part.name, layout.partition(part.name)) for part in reversed(layout.partitions)]
    named = [(name.replace("rootfs-", "slot "), place.start, place.end) for name, place in areas]
    named.append(("partition table", table.start, table.end))
    for number, offset in reversed(list(enumerate(layout.env_offsets, 1))):
        start = layout.card.start + offset
        named.append((f"environment {number}", start, start + layout.env_size))
    return [Lane(*area, TOP + number * (LANE + GAP)) for number, area in enumerate(named)]


def draw(recording: Recording, outcomes: Mapping[int, str], title: str) -> str:
    """The SVG text.

    Args:
        recording: what is drawn.
        outcomes: for each position that was examined, one of `COLOURS`.
        title: stands above it.
    """
    about = recording.about
    made = lanes(about.layout)
    count = about.ended - about.began
    step = WIDTH / max(1, count)
    bottom = made[-1].top + LANE
    operations = recording.operations[about.began : about.ended]
    written = _writes(operations, made, outcomes, about.began, step)
    parts = [
        *(_lane(lane) for lane in made),
        *(_flush(LEFT + (one.index - about.began) * step, bottom) for one in operations if one.kind is Kind.FLUSH),
        *written.values(),
        *_marks(recording, step, bottom),
        *_legend(bottom + GAP, set(written)),
    ]
    width, height = LEFT + WIDTH + MARGIN, bottom + GAP + LEGEND
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:.0f}" role="img">'
    shown = f'<text class="name" x="12" y="22">{escape(title)}</text>'
    return "\n".join([head, f"<title>{escape(title)}</title><style>{STYLE}</style>", shown, *parts, "</svg>"]) + "\n"


def _writes(
    operations: Sequence[Operation], made: Sequence[Lane], outcomes: Mapping[int, str], began: int, step: float
) -> dict[str, str]:
    """A box for each write; all of one outcome are one path, or a card's sectors would be thousands of elements."""
    boxes: dict[str, list[str]] = {}
    for operation in operations:
        lane = next((one for one in made if one.start <= operation.address < one.end), None)
        if operation.kind is not Kind.WRITE or lane is None:
            continue
        top, height = lane.box(operation)
        outcome = outcomes.get(operation.index + 1, "unknown")
        x, width = LEFT + (operation.index - began) * step, max(step, THIN / 2)
        boxes.setdefault(outcome, []).append(f"M{x:.1f} {top:.1f}h{width:.1f}v{height:.1f}h-{width:.1f}z")
    return {name: f'<path fill="{COLOURS[name][0]}" d="{"".join(found)}"/>' for name, found in boxes.items()}


def _lane(lane: Lane) -> str:
    box = f'<rect class="lane" x="{LEFT}" y="{lane.top:.0f}" width="{WIDTH}" height="{LANE}"/>'
    x, y = LEFT - 10, lane.top + LANE / 2 + 4
    return f'{box}<text class="name" x="{x}" y="{y:.0f}" text-anchor="end">{lane.name}</text>'


def _flush(x: float, bottom: float) -> str:
    return f'<path class="flush" d="M{x:.1f} {TOP}V{bottom:.0f}"/>'


def _marks(recording: Recording, step: float, bottom: float) -> list[str]:
    """The steps' names, upright; where they would cover each other, the later one is moved, or left to its line."""
    about = recording.about
    found, last = [], 0.0
    within = ((at, one.name) for at, one in recording.marks if about.began < at <= about.ended)
    for name, group in groupby(within, key=lambda one: one[1]):
        x = LEFT + (next(group)[0] - about.began) * step
        found.append(f'<path class="mark" d="M{x:.1f} {TOP - 4}V{bottom:.0f}"/>')
        place = max(x, last + LABEL)
        if place - x <= 4 * LABEL:
            found.append(f'<text transform="translate({place + 4:.1f} {TOP - 8}) rotate(-60)">{escape(name)}</text>')
            last = place
    return found


def _legend(top: float, used: set[str]) -> list[str]:
    found, x = [], float(LEFT)
    for name, (colour, says) in COLOURS.items():
        if name in used:
            found.append(f'<rect x="{x:.0f}" y="{top}" width="12" height="12" fill="{colour}"/>')
            found.append(f'<text x="{x + 17:.0f}" y="{top + 10}">{escape(says)}</text>')
            x += 40 + 6.2 * len(says)
    found.append(f'<text x="{x:.0f}" y="{top + 10}">| a flush</text>')
    return found
