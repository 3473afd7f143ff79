# SPDX-License-Identifier: Apache-2.0
"""Filters: what a device must be to be found, as terms that all must hold. Knows nothing of how they are looked up.

The operators are those of Mender's inventory (`POST /api/management/v2/inventory/filters/search`).
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import re2

from server_stub.domain.inventory import LARGEST, Scope
from server_stub.errors import Malformed

Operand = str | int | float | bool | list[str] | list[int | float]
MOST_TERMS = 50
MOST_VALUES = 1000
LONGEST_PATTERN = 500


class Operator(StrEnum):
    """A term without the attribute holds only for $ne, $nin and $exists: false."""

    EQ = "$eq"
    NE = "$ne"
    IN = "$in"
    NIN = "$nin"
    GT = "$gt"
    GTE = "$gte"
    LT = "$lt"
    LTE = "$lte"
    EXISTS = "$exists"
    REGEX = "$regex"


ORDERED = frozenset({Operator.GT, Operator.GTE, Operator.LT, Operator.LTE})
LISTED = frozenset({Operator.IN, Operator.NIN})


@dataclass(frozen=True, slots=True)
class Term:
    """One attribute compared with one operand. A list attribute fits if any of its members does."""

    scope: Scope
    attribute: str
    operator: Operator
    value: Operand

    def written(self) -> dict[str, Any]:
        return {"scope": self.scope, "attribute": self.attribute, "type": self.operator, "value": self.value}


@dataclass(frozen=True, slots=True)
class Order:
    """Sort by an attribute."""

    scope: Scope
    attribute: str
    descending: bool


def read_terms(written: Sequence[Mapping[str, Any]]) -> tuple[Term, ...]:
    if len(written) > MOST_TERMS:
        raise Malformed(f"A filter has at most {MOST_TERMS} terms.")
    return tuple(read_term(one) for one in written)


def read_term(written: Mapping[str, Any]) -> Term:
    """A term as the interface writes it; raises Malformed."""
    try:
        scope, operator = Scope(written["scope"]), Operator(written["type"])
    except (KeyError, ValueError):
        raise Malformed(f'A term needs a "scope" ({", ".join(Scope)}) and a "type" ({", ".join(Operator)}).') from None
    attribute, value = written.get("attribute"), written.get("value")
    if not isinstance(attribute, str) or not attribute:
        raise Malformed('A term needs an "attribute".')
    _check_operand(operator, value)
    return Term(scope, attribute, operator, value)  # type: ignore[arg-type]


def _check_operand(operator: Operator, value: object) -> None:
    if operator is Operator.EXISTS:
        if not isinstance(value, bool):
            raise Malformed("$exists takes true or false.")
    elif operator in LISTED:
        if not isinstance(value, list) or not all(_is_scalar(one) for one in value):
            raise Malformed(f"{operator} takes a list of texts or numbers.")
        if len(value) > MOST_VALUES:
            raise Malformed(f"{operator} takes at most {MOST_VALUES} values.")
    elif operator is Operator.REGEX:
        _check_pattern(value)
    elif not _is_scalar(value):
        raise Malformed(f"{operator} takes a text or a number.")


def _check_pattern(value: object) -> None:
    if not isinstance(value, str) or len(value) > LONGEST_PATTERN:
        raise Malformed(f"$regex takes a pattern of at most {LONGEST_PATTERN} characters.")
    options = re2.Options()
    options.log_errors = False
    try:
        re2.compile(value, options)
    except re2.error:
        raise Malformed("$regex takes a regular expression without look-around and back references (RE2).") from None


def _is_scalar(value: object) -> bool:
    if isinstance(value, int | float):
        return not isinstance(value, bool) and abs(value) <= LARGEST
    return isinstance(value, str)
