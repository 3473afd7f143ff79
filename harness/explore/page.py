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
from harness.explore.figures import OF_A_RECOVERY, counted, sayings
from harness.explore.recording import About

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


WORDS: Final = """<details><summary>What the words mean</summary><p>A <b>crash point</b> is a moment at which the power
could have failed, with the un-flushed writes that are lost there (<code>lost=</code>, counted back from the cut), and
perhaps one that tore (<code>torn=</code>, after so many bytes) or got a tail of zeros or ones. Each was <b>judged</b>
from the media alone: what the bootloader would start, the slots (A and B, each with the old or the new system or a part
of one), the data partition, the updater's record. It is <b>violated</b> by what must hold at every moment, and
<b>suspicious</b> where only a start can say. Points of which the device finds the same are a <b>class</b>.
<b>Booted</b> means with the real bootloader, system and updater, until nothing changed any more and the server agreed;
such a boot <b>decides</b> every point that holds the same in all that it has read. <b>On trial</b> is a new system that
the bootloader gives up if it is not kept. A device that <b>owes a report</b> has still to tell the server how an update
ended. <code>bootproof replay CRASH-ID</code> boots one again (<code>--shell</code>: its console).</p></details>"""


def title_of(about: About) -> str:
    """What was explored."""
    planted = f", with the planted fault {about.planted}" if about.planted else ""
    recovery = f": the recovery from {about.first}" if about.first else ""
    return f"{about.story}, seed {about.seed}{planted}{recovery}"


def page(
    about: About,
    report: Mapping[str, Any],
    violations: Sequence[Mapping[str, Any]],
    chosen: Sequence[Chosen],
    results: Mapping[str, Any],
    picture: str,
) -> str:
    """The page's text.

    Args:
        about: the update that was explored.
        report: the outcome, with its figures.
        violations: those that are explained.
        chosen: the points that were to be booted.
        results: what became of each boot, by crash ID.
        picture: the SVG of the update; empty: there is none.
    """
    title = escape(title_of(about))
    parts = (
        f"<h1>{title}</h1>", _verdict(report), _figures(report), WORDS, f'<div class="picture">{picture}</div>',
        "<p>From left to right in the order of the log, not by time.</p>",
        "<h2>Violations</h2>", _violations(report, violations, results), _inconclusive(results), _recoveries(report),
        "<h2>Classes of crash points</h2>", _classes(chosen, results),
        "<h2>Time to recover</h2>", _times([one["seconds"] for one in results.values() if one["outcome"] == "held"]),
    )  # fmt: skip
    head = f'<meta charset="utf-8"><title>{title}</title><style>{STYLE}</style>'
    return f'<!doctype html><html lang="en"><head>{head}</head><body>{"".join(parts)}</body></html>\n'


def _verdict(report: Mapping[str, Any]) -> str:
    if report["violations"]:
        return '<p class="violated">Violated.</p>'
    open_ones = report["inconclusive"] + report["suspicious_left"]
    if open_ones:
        return f'<p class="violated">Inconclusive: of {open_ones:,} points nothing can be said yet.</p>'
    left = report["classes"] - report["classes_booted"]
    unbooted = f" {left} of {report['classes']} classes were judged and not booted." if left else ""
    return f'<p class="held">Held: nothing was found to be violated.{unbooted}</p>'


def _figures(report: Mapping[str, Any]) -> str:
    booted = f"{report['states_booted']:,} were booted, and decide {report['states_decided']:,} of them"
    classes = f"{report['classes_booted']} of {report['classes']} classes"
    outcome = f"Violated: {len(report['violations'])}; inconclusive: {report['inconclusive']}"
    if report["suspicious"]:
        left = f"of {report['suspicious_left']:,} of which no boot says anything"
        outcome += f"; suspicious: {report['suspicious']:,}, {left}"
    both = ", those of the recoveries among them" if report.get("recoveries") else ""
    return (
        f"<p>There are {counted(report['states_total'])} crash points{both}. {report['states_judged']:,} were judged; "
        f"{booted} ({classes}). {outcome}. {report['as_forecast']} boots went as forecast. "
        f"It took {report['seconds']:,} s.</p>"
    )


def _violations(report: Mapping[str, Any], found: Sequence[Mapping[str, Any]], results: Mapping[str, Any]) -> str:
    """Each with what is wrong, and the least that still is, in words, where that is known."""
    explained = {one["crash_id"]: one for one in found}
    known = sayings(report, found, results)
    items = []
    for name in report["violations"]:
        one, result = explained.get(name), results.get(name, {})
        says = known.get(name, OF_A_RECOVERY)
        item = f'<li><code>{escape(name)}</code><br><span class="violated">{escape(says)}</span>{_kept(result)}'
        if one:
            words = "".join(f"<br>{escape(line)}" for line in one["words"])
            item += f"<br>At the least: <code>{escape(one['least'])}</code>{words}"
        items.append(f"{item}</li>")
    return f"<ul>{''.join(items)}</ul>" if items else "<p>None.</p>"


def _inconclusive(results: Mapping[str, Any]) -> str:
    items = [
        f"<li><code>{escape(name)}</code><br>{escape(one['says'])}{_kept(one)}</li>"
        for name, one in results.items()
        if one["outcome"] == "inconclusive"
    ]
    return f"<h2>Inconclusive</h2><ul>{''.join(items)}</ul>" if items else ""


def _kept(result: Mapping[str, Any]) -> str:
    """Where the run of a boot is."""
    folder = result.get("folder")
    return f'<br><a href="boots/{escape(folder)}/">console, disk and log of that boot</a>' if folder else ""


def _recoveries(report: Mapping[str, Any]) -> str:
    """The second order."""
    rows = []
    for number, one in enumerate(report.get("recoveries", ()), 1):
        unclear = one["inconclusive"] or one["suspicious_left"]
        outcome = "violated" if one["violations"] else "inconclusive" if unclear else "held"
        name = f"<code>{escape(one['first'])}</code>"
        link = name if "says" in one else f'<a href="{escape(one["folder"])}/report.html">{name}</a>'
        rows.append(
            f'<tr><td class="number">{number}</td><td>{link}</td><td class="number">{one["states_judged"]:,}</td>'
            f'<td class="number">{one["states_booted"]}</td><td class="{outcome}">{outcome}</td></tr>'
        )
    names = ("", "The power fails again, after", "Judged", "Booted", "Outcome")
    head = "".join(f"<th>{name}</th>" for name in names)
    return f"<h2>Recoveries</h2><table><tr>{head}</tr>{''.join(rows)}</table>" if rows else ""


def _classes(chosen: Sequence[Chosen], results: Mapping[str, Any]) -> str:
    rows = []
    for one in sorted((one for one in chosen if one.why == CLASS), key=lambda one: -one.points):
        result = results.get(one.crash_id)
        outcome = result["outcome"] if result else "violated" if one.violates else "not booted"
        seconds = f"{result['seconds']:.1f}" if result and result["seconds"] else ""
        became = (result["ended"] or "?") if result else ""
        rows.append(
            f'<tr><td class="number">{one.points:,}</td><td>{escape(one.says)}<br><small>{escape(one.differs)}</small>'
            f'</td><td>{one.ends or "?"}</td><td>{became}</td><td class="{outcome}">{outcome}</td>'
            f'<td class="number">{seconds}</td><td><code>{escape(one.crash_id)}</code></td></tr>'
        )
    names = ("Points", "The device", "Should end", "Ended", "Boot", "Seconds until settled", "Crash ID")
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
