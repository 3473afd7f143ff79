# SPDX-License-Identifier: Apache-2.0
"""The figures of an exploration: of one order, and of both together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from harness.explore.chosen import CLASS, Chosen
from harness.judge import Outcome

READABLE: Final = 12  # digits
OF_A_RECOVERY: Final = "See the recovery's own report."  # what is wrong there
ADDED: Final = (
    "states_total", "states_judged", "states_decided", "states_booted", "suspicious", "suspicious_left", "classes",
    "classes_booted", "inconclusive", "as_forecast", "seconds",
)  # fmt: skip


def counted(number: int) -> str:
    """A number for people, also one that nobody would read."""
    power = len(str(number)) - 1
    return f"{number:,}" if power < READABLE else f"{number / 10**power:.1f} * 10^{power}"


def figures(
    plan: Mapping[str, Any], chosen: Sequence[Chosen], results: Mapping[str, Mapping[str, Any]],
    decided: Mapping[str, Any], seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Of one order.

    Args:
        plan, chosen, decided: what is kept of the judging, the choice and what boots decide.
        results: what became of each boot, by crash ID.
        seconds: how long all of it took.
    """
    unclear = [name for name, one in results.items() if one["outcome"] == Outcome.INCONCLUSIVE.value]
    booted = results.keys() - {name for name in unclear if not results[name]["folder"]}  # these could not be
    violated = {name for name, one in results.items() if one["outcome"] == Outcome.VIOLATED.value}
    return {
        "states_total": plan["states_total"],
        "states_judged": plan["states_judged"],
        "states_booted": len(booted),
        "states_decided": sum(decided.get("points", {}).values()),
        "suspicious": len(plan["suspicious"]),
        "suspicious_left": decided.get("suspicious_left", len(plan["suspicious"])),
        "classes": len(plan["classes"]),
        "classes_booted": sum(one.why == CLASS and one.crash_id in booted for one in chosen),
        "violations": sorted(violated | {one.crash_id for one in chosen if one.violates}),
        "inconclusive": len(unclear),
        "as_forecast": sum(one.is_forecast(results[one.crash_id]) for one in chosen if one.crash_id in results),
        "seconds": round(seconds, 1),
    }


def sayings(
    report: Mapping[str, Any], explained: Sequence[Mapping[str, Any]], results: Mapping[str, Mapping[str, Any]]
) -> dict[str, str]:
    """What is wrong, by crash ID: what is explained, what a boot has shown, and recoveries that were none."""
    says = {name: one["says"] for name, one in results.items() if one["outcome"] == Outcome.VIOLATED.value}
    says |= {one["first"]: one["says"] for one in report.get("recoveries", ()) if "says" in one}
    return says | {one["crash_id"]: one["says"] for one in explained}


def together(report: dict[str, Any], recoveries: Sequence[dict[str, Any]]) -> dict[str, Any]:
    """One report for both orders; those of the recoveries are in it."""
    added = {name: report[name] + sum(one[name] for one in recoveries) for name in ADDED}
    violations = sorted({*report["violations"], *(name for one in recoveries for name in one["violations"])})
    return {**report, **added, "seconds": round(added["seconds"], 1), "violations": violations,
            "recoveries": list(recoveries)}  # fmt: skip
