# SPDX-License-Identifier: Apache-2.0
"""What is said of a case."""

from __future__ import annotations

from tests.conformance.cases import NONE, Case, Dialect
from tests.conformance.journal import Outcome, Seen, actual, expected


def passed(case: Case, dialect: Dialect, outcome: Outcome) -> bool:
    return not outcome.trouble and actual(case, dialect, outcome) == expected(case, dialect)


def told(case: Case, dialect: Dialect, outcome: Outcome, *, verbose: bool = False) -> str:
    """One line, and for a case that failed what was wanted and what was seen, one below the other."""
    if passed(case, dialect, outcome):
        lines = [f"ok {case.name}"]
        return "\n".join([*lines, *_shown("  ", actual(case, dialect, outcome))] if verbose else lines)
    wanted, seen = expected(case, dialect), actual(case, dialect, outcome)
    pairs = zip(_shown("  expected ", wanted), _shown("  actual   ", seen), strict=True)
    lines = [f"FAILED {case.name}", *(line for pair in pairs for line in pair)]
    lines += [f"  {line}" for line in outcome.trouble.splitlines()]
    return "\n".join(lines + ([f"  journal  {' '.join(outcome.journal)}"] if verbose else []))


def _shown(before: str, seen: Seen) -> list[str]:
    named = {"statuses": seen.statuses, "artifact": seen.final, "trace   ": " ".join(seen.trace)}
    return [f"{before}{name} {value or NONE}" for name, value in named.items()]
