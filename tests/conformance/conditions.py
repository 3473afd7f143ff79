# SPDX-License-Identifier: Apache-2.0
"""The conditions of a case: what goes wrong, and what the module, the artifact and the server are like."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

from tests.conformance.errors import Unusable
from tests.conformance.steps import step_named

REPORTED = {"Downloading": "downloading", "Installing": "installing", "Rebooting": "rebooting"}


class Kind(StrEnum):
    ERR = "err"  # the script or the module ends with 1
    KILL = "kill"  # it kills the updater
    HANG = "hang"  # it does not end


@dataclass(frozen=True)
class Fault:
    """Something that goes wrong in a step, the first time or every time."""

    kind: Kind
    step: str
    forever: bool = False


@dataclass(frozen=True)
class Conditions:
    """Everything about a case but what is expected; without arguments, an update in which all goes well."""

    faults: tuple[Fault, ...] = ()
    rollback: bool = True  # the module's answer to SupportsRollback
    reboot: bool = True  # and to NeedsArtifactReboot
    file_sizes: str = ""  # and to ProvidePayloadFileSizes, as it is printed
    deployments: int = 1  # how often the server hands one out before the case is over
    failing_reports: int = 0  # so many status reports fail, of those with the status that follows
    failing_status: str = ""
    aborts: bool = False  # they fail because the deployment has been aborted
    other_device_type: bool = False
    broken_download: bool = False
    empty_payload: bool = False
    schema_update_at: int | None = None  # the restart before which a client with another store format ran
    unwritable_after: int | None = None  # records that Mender's client writes before its store cannot be written
    control_map: str | None = None  # JSON given to the store before a restart

    def and_faults(self, *faults: Fault) -> Conditions:
        return replace(self, faults=(*self.faults, *faults))

    @property
    def hangs(self) -> bool:
        return any(fault.kind is Kind.HANG for fault in self.faults)


def read_conditions(text: str, known: Conditions) -> Conditions:
    """`known` with what a column of conditions adds.

    Raises:
        Unusable: a condition is not of the vocabulary, or two of them make no sense together.
    """
    words = iter(text.split())
    for word in () if text == "-" else words:
        known = _with_number(word, words, known) if word.isdecimal() else _with_word(word, known)
    if bool(known.failing_reports) != bool(known.failing_status):
        raise Unusable("fsr_count and fsr_status are given only together")
    if known.aborts and not known.failing_reports:
        raise Unusable("fail_status_aborted needs fsr_count and fsr_status")
    return known


def _with_number(word: str, words: Iterator[str], known: Conditions) -> Conditions:
    if next(words, None) not in ("deployments", "deployment") or int(word) < 1:
        raise Unusable(f"the number '{word}' is not one of deployments")
    return replace(known, deployments=int(word))


def _with_word(word: str, known: Conditions) -> Conditions:
    if word == "noRB":
        return replace(known, rollback=False)
    if word == "noReboot":
        return replace(known, reboot=False)
    name, equals, value = word.partition("=")
    if equals and name in list(Kind):
        return known.and_faults(*(_fault(Kind(name), item) for item in value.split(",")))
    if equals and name in _VALUES:
        field, read = _VALUES[name]
        return replace(known, **{field: read(name, value)})  # type: ignore[arg-type]
    raise Unusable(f"the condition '{word}' is unknown")


def _fault(kind: Kind, item: str) -> Fault:
    step = step_named(item.removesuffix("*"))
    if step is None:
        raise Unusable(f"'{item}' is not a step in which something can go wrong")
    return Fault(kind, step, item.endswith("*"))


def _number(name: str, value: str) -> int:
    if not re.fullmatch("[0-9]{1,6}", value):
        raise Unusable(f"{name} must be a number, not '{value}'")
    return int(value)


def _flag(name: str, value: str) -> bool:
    if value not in ("true", "false"):
        raise Unusable(f"{name} must be true or false, not '{value}'")
    return value == "true"


def _status(name: str, value: str) -> str:
    if value not in REPORTED:
        raise Unusable(f"{name} must be one of {', '.join(REPORTED)}, not '{value}'")
    return REPORTED[value]


_VALUES: dict[str, tuple[str, Callable[[str, str], object]]] = {
    "fsr_count": ("failing_reports", _number),
    "fsr_status": ("failing_status", _status),
    "fail_status_aborted": ("aborts", _flag),
    "device_type_mismatch": ("other_device_type", _flag),
    "broken_download": ("broken_download", _flag),
    "empty_payload_artifact": ("empty_payload", _flag),
    "schema_update_at": ("schema_update_at", _number),
    "ro_db_after": ("unwritable_after", _number),
}
