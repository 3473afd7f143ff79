# SPDX-License-Identifier: Apache-2.0
"""The journal of a case: one file to which module, scripts and relay each add a line; and how it is read."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path

from tests.conformance.cases import NONE, Case, Dialect
from tests.conformance.steps import QUERIES, SHORT, around_updates

HANDED_OUT = "[next 200]"
LETTERS = {"downloading": "d", "installing": "i", "rebooting": "r", "success": "S", "failure": "F"}
FINALS = {"old_name": "OLD", "artifact-name": "NEW", "artifact-name_INCONSISTENT": "NEW_INCONSISTENT"}


@dataclass(frozen=True)
class Outcome:
    """What was seen of a case: the journal's lines, what `show-artifact` said, and what went wrong with the run."""

    journal: Sequence[str]
    artifact: str
    trouble: str = ""


@dataclass(frozen=True)
class Seen:
    """An outcome as it is compared and shown."""

    statuses: str
    final: str
    trace: tuple[str, ...]


def note(journal: Path, line: str) -> None:
    """Add a line; one write, so that lines of several writers stay whole."""
    with journal.open("a") as file:
        file.write(line + "\n")


def note_report(journal: Path, status: str, answer: str) -> None:
    note(journal, f"[status {status} {answer}]")


def expected(case: Case, dialect: Dialect) -> Seen:
    return Seen(_statuses(case.statuses, case, dialect), case.final, case.trace)


def actual(case: Case, dialect: Dialect, outcome: Outcome) -> Seen:
    reports = [line.split()[1] for line in outcome.journal if line.startswith("[status ")]
    letters = [LETTERS.get(status, f"<{status}>") for status in reports]
    steps = [SHORT.get(line, line) for line in outcome.journal if not line.startswith("[")]
    final = FINALS.get(outcome.artifact, outcome.artifact or NONE)
    return Seen(_statuses(letters, case, dialect), final, tuple(_shown(steps, case, dialect)))


def _statuses(letters: Iterable[str], case: Case, dialect: Dialect) -> str:
    """Statuses as they are compared: where reports fail and are sent again, the reference lists sometimes every
    attempt and sometimes one, so that status says nothing.  An aborted one is sent once and is compared.
    """
    conditions = case.conditions
    if conditions.failing_reports and not conditions.aborts:
        letters = [letter for letter in letters if letter != LETTERS[conditions.failing_status]]
    if dialect is Dialect.GO34:
        letters = [letter for letter, _ in groupby(letters)]
    return "".join(letters)


def _shown(steps: Iterable[str], case: Case, dialect: Dialect) -> Iterable[str]:
    waiting_too = any(map(around_updates, case.trace))
    for step in steps:
        # When the newer client asks is not part of its reference.
        asked = dialect is Dialect.CPP and step in QUERIES
        if not asked and (waiting_too or not around_updates(step)):
            yield step
