# SPDX-License-Identifier: Apache-2.0
"""What a page is to who cannot see it: the browser's own accessibility tree, and the contrast of the colours."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from playwright.sync_api import Page

CONTROLS = frozenset(
    {"button", "link", "textbox", "searchbox", "combobox", "radio", "checkbox", "spinbutton", "progressbar", "image"}
    | {"DisclosureTriangle", "dialog", "table", "listbox"}
)
# Each colour of text, and what it may stand on (WCAG 2.2 AA: 4.5); then of what is no text (3.0).
TEXTS = {
    "ground": ("text", "quiet", "accent", "danger", "done", "failed", "working", "waiting", "ended"),
    "panel": ("text", "quiet", "accent", "failed", "done", "working", "waiting", "ended"),
    "accent": ("on-accent",),
}
SHAPES = {
    "ground": ("edge", "accent", "danger", "done", "failed", "working", "ended"),
    "blank": ("done", "failed", "working", "ended"),
}


@dataclass(frozen=True, slots=True)
class Node:
    role: str
    name: str
    level: int


def tree(page: Page) -> list[Node]:
    """All that is told of a page, in its order."""
    session = page.context.new_cdp_session(page)
    found = session.send("Accessibility.getFullAXTree")["nodes"]
    session.detach()
    return [_node(one) for one in found if not one.get("ignored")]


def _node(told: Mapping[str, Any]) -> Node:
    properties = {one["name"]: one["value"].get("value") for one in told.get("properties", ())}
    name = str(told.get("name", {}).get("value", "")).strip()
    return Node(str(told["role"]["value"]), name, int(properties.get("level") or 0))


def faults(page: Page, *, logged_in: bool = True) -> list[str]:
    """What somebody who listens would stumble over."""
    nodes = tree(page)
    roles = [one.role for one in nodes]
    found = [f"a {one.role} has no name" for one in nodes if one.role in CONTROLS and not one.name]
    levels = [one.level for one in nodes if one.role == "heading"]
    if levels.count(1) != 1 or levels[0] != 1:
        found.append(f"the headings begin with {levels[:2]}")
    found += [f"a heading {after} follows {before}" for before, after in pairwise(levels) if after > before + 1]
    landmarks = ("main", "banner", "navigation") if logged_in else ("main",)
    found += [f"there is no {one}" for one in landmarks if one not in roles]
    if roles.count("main") != 1:
        found.append("there is more than one main")
    if not page.title():
        found.append("the page has no title")
    ids = page.evaluate("[...document.querySelectorAll('[id]')].map((one) => one.id)")
    found += [f"the id {one} is there twice" for one in {one for one in ids if ids.count(one) > 1}]
    return found


def contrasts(page: Page) -> dict[tuple[str, str], float]:
    """The contrast of every pair of colours that the style may put together, from its variables."""
    pairs = [(over, under) for under, overs in [*TEXTS.items(), *SHAPES.items()] for over in overs]
    names = sorted({name for pair in pairs for name in pair})
    script = (
        "(names) => names.map((one) => getComputedStyle(document.documentElement).getPropertyValue('--' + one).trim())"
    )
    colours = dict(zip(names, page.evaluate(script, names), strict=True))
    return {(over, under): contrast(colours[over], colours[under]) for over, under in pairs}


def contrast(one: str, other: str) -> float:
    """The ratio of WCAG of two colours as #rrggbb."""
    lighter, darker = sorted((_luminance(one), _luminance(other)), reverse=True)
    return (lighter + 0.05) / (darker + 0.05)


def _luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue
