# SPDX-License-Identifier: Apache-2.0
"""An exploration as one page for people: the picture, what is violated, the classes, and the times to recover.

HTML, complete in itself, readable on a light and on a dark page and on paper.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from statistics import median, quantiles
from typing import Any, Final

from harness.explore.chosen import CLASS, Chosen

BINS: Final = 12
BAR_WIDTH, BAR_HEIGHT, GAP = 44, 120, 4
STYLE: Final = """
:root { color-scheme: light dark }
body { font: 15px/1.5 sans-serif; max-width: 1320px; margin: 2rem auto; padding: 0 1rem }
table { border-collapse: collapse; width: 100% } th { text-align: left }
th, td { padding: .3rem .6rem; border-bottom: 1px solid #8886; vertical-align: top }
td.number { text-align: right; font-variant-numeric: tabular-nums } code { font-size: 13px; overflow-wrap: anywhere }
.violated { color: #d55e00; font-weight: 600 } .held { color: #009e73 } .picture { overflow-x: auto }
.bar { fill: #0072b2 } svg text { font: 11px sans-serif; fill: currentColor } li { margin: .4rem 0 }
"""


def page(
    title: str,
    report: Mapping[str, Any],
    violations: Sequence[Mapping[str, Any]],
    chosen: Sequence[Chosen],
    results: Mapping[str, Any],
    picture: str,
) -> str:
    """The page's text.

    Args:
        title: the update that was explored.
        report: the outcome, with its figures.
        violations: those that are explained.
        chosen: the points that were to be booted.
        results: what became of each boot, by crash ID.
        picture: the SVG of the update.
    """
    parts = (
        f"<h1>{escape(title)}</h1>", _figures(report), f'<div class="picture">{picture}</div>',
        "<h2>Violations</h2>", _violations(report, violations, results),
        "<h2>Classes of crash points that no device could tell apart</h2>", _classes(chosen, results),
        "<h2>Time to recover</h2>", _times([one["seconds"] for one in results.values() if one["outcome"] == "held"]),
    )  # fmt: skip
    head = f'<meta charset="utf-8"><title>{escape(title)}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _figures(report: Mapping[str, Any]) -> str:
    booted = f"{report['states_booted']:,} were booted, and decide {report['states_decided']:,} of them"
    classes = f"{report['classes_booted']} of {report['classes']} classes"
    outcome = f"{len(report['violations'])} are violated, {report['inconclusive']} inconclusive"
    if report["suspicious"]:
        outcome += (
            f", {report['suspicious']:,} suspicious, of {report['suspicious_left']:,} of which no boot says anything"
        )
    return (
        f"<p>There are {report['states_total']:,} crash points. {report['states_judged']:,} were judged; {booted} "
        f"({classes}). {outcome}. {report['as_forecast']} boots went as forecast. It took {report['seconds']:,} s.</p>"
    )


def _violations(report: Mapping[str, Any], found: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> str:
    """Each with what is wrong, and the least that still is, in words, where that is known."""
    explained = {one["crash_id"]: one for one in found}
    items = []
    for name in report["violations"]:
        one = explained.get(name)
        says = one["says"] if one else results.get(name, {}).get("says", "")
        item = f'<li><code>{escape(name)}</code><br><span class="violated">{escape(says)}</span>'
        if one:
            words = "".join(f"<br>{escape(line)}" for line in one["words"])
            item += f"<br>At the least: <code>{escape(one['least'])}</code>{words}"
        items.append(f"{item}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else "<p>None.</p>"


def _classes(chosen: Sequence[Chosen], results: Mapping[str, Any]) -> str:
    rows = []
    for one in sorted((one for one in chosen if one.why == CLASS), key=lambda one: -one.points):
        result = results.get(one.crash_id)
        outcome = result["outcome"] if result else "violated" if one.violates else "not booted"
        seconds = f"{result['seconds']:.1f}" if result and result["seconds"] else ""
        became = f"{one.ends or '?'}, {result['ended'] or '?'}" if result else one.ends or "?"
        rows.append(
            f'<tr><td class="number">{one.points:,}</td><td>{escape(one.says)}</td><td>{became}</td>'
            f'<td class="{outcome}">{outcome}</td><td class="number">{seconds}</td>'
            f"<td><code>{escape(one.crash_id)}</code></td></tr>"
        )
    names = ("Points", "The device", "Forecast, became", "Boot", "Seconds", "Crash ID")
    return f"<table><tr>{''.join(f'<th>{name}</th>' for name in names)}</tr>{''.join(rows)}</table>"


def _times(seconds: Sequence[float]) -> str:
    """The distribution from power-on until the board had settled, of the boots that held."""
    if not seconds:
        return "<p>Nothing was booted.</p>"
    low, high = min(seconds), max(seconds)
    width = (high - low) / BINS or 1.0
    counts = [0] * BINS
    for one in seconds:
        counts[min(BINS - 1, int((one - low) / width))] += 1
    tenth = quantiles(seconds, n=10)[-1] if len(seconds) > 1 else high
    says = f"{len(seconds)} boots: {low:.1f} to {high:.1f} s, median {median(seconds):.1f}, nine of ten {tenth:.1f}."
    bars = "".join(_bar(number, count, max(counts), low + number * width) for number, count in enumerate(counts))
    size = f'width="{BINS * BAR_WIDTH}" height="{BAR_HEIGHT + 40}"'
    return f'<p>{says}</p><svg {size} role="img"><title>{says}</title>{bars}</svg>'


def _bar(number: int, count: int, most: int, begins: float) -> str:
    height = BAR_HEIGHT * count / most
    x, y = number * BAR_WIDTH, 20 + BAR_HEIGHT - height
    middle = x + (BAR_WIDTH - GAP) / 2
    return (
        f'<rect class="bar" x="{x}" y="{y:.0f}" width="{BAR_WIDTH - GAP}" height="{height:.0f}"/>'
        f'<text x="{middle}" y="{y - 4:.0f}" text-anchor="middle">{count or ""}</text>'
        f'<text x="{middle}" y="{BAR_HEIGHT + 34}" text-anchor="middle">{begins:.1f}</text>'
    )
