# SPDX-License-Identifier: Apache-2.0
"""What a case's name says of its conditions: a little where they have a column, everything where they have none."""

from __future__ import annotations

import re
from dataclasses import replace

from tests.conformance.conditions import Conditions, Fault, Kind
from tests.conformance.errors import Unusable
from tests.conformance.steps import STEPS

KINDS = {"Error": Kind.ERR, "Killed": Kind.KILL, "Hang": Kind.HANG}
SUBJECT = re.compile(r"(Error|Killed|Hang) in ([A-Za-z]+)(?: (Enter|Leave|Error) 00)?(?: state)?(?![A-Za-z])")
# Steps that an update comes to only after something else went wrong, and what that is.
CAUSES = {
    "ArtifactFailure": Fault(Kind.ERR, "ArtifactInstall"),
    "ArtifactRollback": Fault(Kind.ERR, "ArtifactVerifyReboot"),
    "ArtifactRollbackReboot": Fault(Kind.ERR, "ArtifactVerifyReboot"),
    "ArtifactVerifyRollbackReboot": Fault(Kind.ERR, "ArtifactVerifyReboot"),
    "Cleanup": Fault(Kind.ERR, "ArtifactVerifyReboot"),
}
STORIES = {
    "Normal install": Conditions(),
    "Normal flow": Conditions(),
    "Deployment": Conditions(),
    "Broken Download": Conditions(),
    "Break out of error loop": Conditions(
        (
            Fault(Kind.ERR, "ArtifactVerifyReboot", forever=True),
            Fault(Kind.ERR, "ArtifactVerifyRollbackReboot", forever=True),
        )
    ),
    "Break out of spontaneous reboot loop": Conditions(
        (Fault(Kind.ERR, "ArtifactVerifyReboot"), Fault(Kind.KILL, "ArtifactFailure", forever=True))
    ),
    "Temporary failure in report sending after reboot": Conditions(failing_reports=10, failing_status="installing"),
    "Permanent failure in report sending after reboot": Conditions(failing_reports=100, failing_status="installing"),
}
CONTROL_MAP = re.compile(r"Deployment with (empty )?Update Control$")
FILE_SIZES = re.compile(r"DownloadWithFileSizes(Yes|No|Empty)(?![A-Za-z])")
LACKS = {"rollback": re.compile(r"\bno ?(rollback|RB)\b", re.I), "reboot": re.compile(r"\bno ?reboot\b", re.I)}


def said_beside_a_column(name: str) -> Conditions:
    """What only the name says, also where there is a column of conditions."""
    text = _plain(name)
    told = Conditions(broken_download=text == "Broken Download")
    if sizes := FILE_SIZES.search(text):
        told = replace(told, file_sizes="" if sizes[1] == "Empty" else sizes[1])
    if control := CONTROL_MAP.match(text):
        # It is given before a restart; the one of these cases is the reboot, which is one in every case.
        told = replace(told, control_map="{}" if control[1] else '{"something": true}')
    return told


def said_alone(name: str) -> Conditions:
    """All conditions of a case that has nothing but its name.

    Raises:
        Unusable: the name cannot be understood to its end.
    """
    text = _plain(name)
    lacking = {what: bool(pattern.search(text)) for what, pattern in LACKS.items()}
    for pattern in LACKS.values():
        text = pattern.sub("", text)
    text = CONTROL_MAP.sub("Deployment", FILE_SIZES.sub("", text))
    told, rest = _story(text) or _subject(text) or (Conditions(), text)
    if rest.strip(" ,.") or not text:
        raise Unusable(f"the name '{name}' does not say its conditions in a way that is known")
    beside = said_beside_a_column(name)
    return replace(
        told,
        rollback=not lacking["rollback"],
        reboot=not lacking["reboot"],
        file_sizes=beside.file_sizes,
        broken_download=beside.broken_download,
        control_map=beside.control_map,
    )


def _plain(name: str) -> str:
    return " ".join(name.replace("_", " ").split())


def _story(text: str) -> tuple[Conditions, str] | None:
    found = next((story for story in STORIES if text.startswith(story)), None)
    return (STORIES[found], text.removeprefix(found)) if found else None


def _subject(text: str) -> tuple[Conditions, str] | None:
    found = SUBJECT.match(text)
    if not found:
        return None
    kind, state, moment = found.groups()
    step = f"{state}_{moment}" if moment else state
    if step not in STEPS.values():
        return None
    cause = CAUSES.get(state)
    return Conditions((*([cause] if cause else []), Fault(KINDS[kind], step))), text[found.end() :]
