# SPDX-License-Identifier: Apache-2.0
"""Cases as they are written down: one to a line, in columns, in a plain file or in Markdown."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from tests.conformance.casenames import said_alone, said_beside_a_column
from tests.conformance.conditions import Conditions, read_conditions
from tests.conformance.errors import Unusable
from tests.conformance.steps import STEPS

NONE = "(none)"
FINALS = ("OLD", "NEW", "NEW_INCONSISTENT")
MOST_REPEATS = 1000
ITEM = re.compile(r"\(([^()]*)\)x([0-9]{1,6})(?=\s|$)|(\S+)")
RULE = re.compile(r"[\s|:-]*-[\s|:-]*")


class Dialect(StrEnum):
    """The generation of Mender's client that the updater is to behave like."""

    CPP = "cpp"
    GO34 = "go34"


@dataclass(frozen=True)
class Case:
    """One case: what is done, and what must be seen."""

    name: str
    conditions: Conditions
    statuses: str  # one letter each
    final: str
    trace: tuple[str, ...]  # short names of steps
    dialect: Dialect


def read_cases(text: str) -> tuple[Case, ...]:
    """All cases of a file, in its order.

    Raises:
        Unusable: a line cannot be understood, or there is no case.
    """
    lines = text.splitlines()
    cases = tuple(_case(number, lines[number - 1]) for number in _case_lines(lines))
    if not cases:
        raise Unusable("There is no case in it: a case is a line with columns separated by '|'.")
    return cases


def read_trace(text: str) -> tuple[str, ...]:
    """The steps of a trace, repetitions written out.

    Raises:
        Unusable: something in it is not a step.
    """
    return () if text == NONE else tuple(_steps(text))


def _case_lines(lines: list[str]) -> Iterator[int]:
    """Numbers, from 1, of the lines that hold a case; titles and rules of tables are passed over."""
    for number, line in enumerate(lines, 1):
        if "|" not in line or line.lstrip().startswith(("#", "```", "~~~")) or RULE.fullmatch(line):
            continue
        below = lines[number] if number < len(lines) else ""
        if not (_names_columns(line) or ("|" in below and RULE.fullmatch(below))):
            yield number


def _names_columns(line: str) -> bool:
    cells = _cells(line)
    return len(cells) > 2 and cells[-1].rstrip(".").lower() == "trace" and cells[-2].lower().startswith("final")


def _cells(line: str) -> list[str]:
    return [cell.strip() for cell in line.strip().removeprefix("|").removesuffix("|").split("|")]


def _case(number: int, line: str) -> Case:
    cells = _cells(line)
    try:
        if len(cells) not in (4, 5):
            raise Unusable(f"a case has 4 or 5 columns, not {len(cells)}")
        name, *told, statuses, final, trace = cells
        if not name:
            raise Unusable("the case has no name")
        conditions = read_conditions(told[0], said_beside_a_column(name)) if told else said_alone(name)
        dialect = Dialect.CPP if told else Dialect.GO34
        return Case(name, conditions, _statuses(statuses), _final(final), read_trace(trace), dialect)
    except Unusable as problem:
        raise Unusable(f"Line {number}: {problem}.") from None


def _statuses(text: str) -> str:
    if text != NONE and not re.fullmatch("[dirSF]+", text):
        raise Unusable(f"the statuses '{text}' are not letters of d, i, r, S and F, nor {NONE}")
    return "" if text == NONE else text


def _final(text: str) -> str:
    if text not in FINALS:
        raise Unusable(f"the final artifact '{text}' is not one of {', '.join(FINALS)}")
    return text


def _steps(text: str) -> Iterator[str]:
    if not text:
        raise Unusable(f"the trace is empty; one without steps is written {NONE}")
    for item in ITEM.finditer(text):
        repeated, times, single = item.groups()
        steps = [single] if single else repeated.split()
        for step in steps:
            if step not in STEPS:
                raise Unusable(f"'{step}' in the trace is not a step")
        if not steps or int(times or 1) > MOST_REPEATS:
            raise Unusable(f"'{item[0]}' repeats nothing, or too often")
        yield from steps * int(times or 1)
