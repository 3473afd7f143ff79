# SPDX-License-Identifier: Apache-2.0
"""From a filter to a query: which devices have attributes that fit all terms. The database does the comparing."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from sqlalchemy import ColumnElement, Connection, Select, and_, exists, false, literal, not_, or_, select, true
from sqlalchemy.exc import DataError

from server_stub.domain.filters import Operand, Operator, Order, Term
from server_stub.domain.inventory import Scope
from server_stub.errors import Malformed
from server_stub.storage.schema import attributes, devices

MOST_MENTIONS = 10_000
Comparison = Callable[[Any, Any], ColumnElement[bool]]
# What is no attribute of its own but a property of the device, and its column.
PROPERTIES: Mapping[tuple[Scope, str], ColumnElement[Any]] = {
    (Scope.IDENTITY, "status"): devices.c.status,
    (Scope.SYSTEM, "status"): devices.c.status,
    (Scope.SYSTEM, "id"): devices.c.id,
    (Scope.SYSTEM, "group"): devices.c.group,
    (Scope.SYSTEM, "created_ts"): devices.c.created_ts,
    (Scope.SYSTEM, "updated_ts"): devices.c.inventory_ts,
    (Scope.SYSTEM, "check_in_time"): devices.c.check_in_ts,
}
_COMPARISONS: Mapping[Operator, Comparison] = {
    Operator.EQ: lambda column, value: column == value,
    Operator.GT: lambda column, value: column > value,
    Operator.GTE: lambda column, value: column >= value,
    Operator.LT: lambda column, value: column < value,
    Operator.LTE: lambda column, value: column <= value,
    Operator.REGEX: lambda column, value: column.regexp_match(value),
}
_NEGATED = {Operator.NE: Operator.EQ, Operator.NIN: Operator.IN}


def matching(query: Select[Any], terms: Sequence[Term]) -> Select[Any]:
    """The query, for devices that fit all terms only."""
    return query.where(and_(true(), *(_condition(term) for term in terms)))


def check_patterns(connection: Connection, terms: Sequence[Term]) -> None:
    """Refuse patterns that only SQLite, which asks us, can read: every later search would fail. Raises Malformed."""
    for term in terms:
        if term.operator is not Operator.REGEX or connection.dialect.name == "sqlite":
            continue
        try:
            with connection.begin_nested():
                connection.execute(select(literal("").regexp_match(term.value)))
        except DataError:
            raise Malformed(f"{term.value[:80]!r} is no regular expression of this server's database.") from None  # type: ignore[index]


def mentioning(query: Select[Any], text: str) -> Select[Any]:
    """The query, for devices that have the text in their id or in a value, in whichever case.

    A text that nearly all devices have is no search: only so many values with it are gathered.
    """
    if not text:
        return query
    called = devices.c.id.icontains(text, autoescape=True)
    return query.where(or_(called, devices.c.id.in_(_saying(text).limit(MOST_MENTIONS))))


def mentioned_beyond(text: str) -> Select[Any]:
    """A row, if more values have the text than are gathered."""
    return _saying(text).offset(MOST_MENTIONS).limit(1)


def _saying(text: str) -> Select[Any]:
    return select(attributes.c.device_id).where(attributes.c.text.icontains(text, autoescape=True))


def ordered(query: Select[Any], orders: Sequence[Order]) -> Select[Any]:
    """The query in this order; devices without the attribute come first, and the oldest of equals."""
    for one in orders:
        for key in _sort_keys(one):
            query = query.order_by(key.desc().nulls_last() if one.descending else key.asc().nulls_first())
    return query.order_by(devices.c.order)


def _condition(term: Term) -> ColumnElement[bool]:
    if term.operator in _NEGATED:
        return not_(_holds(term, _NEGATED[term.operator]))
    return _holds(term, term.operator)


def _holds(term: Term, operator: Operator) -> ColumnElement[bool]:
    """True or false, never null: its negation must hold where the attribute is not there."""
    column = PROPERTIES.get((term.scope, term.attribute))
    if column is not None:
        if operator is Operator.EXISTS:
            return column.is_not(None) if term.value else column.is_(None)
        return and_(column.is_not(None), _compared(column, None, operator, term.value))
    mine = and_(
        attributes.c.device_id == devices.c.id,
        attributes.c.scope == term.scope,
        attributes.c.name == term.attribute,
    )
    if operator is Operator.EXISTS:
        there = exists(select(attributes.c.device_id).where(mine))
        return there if term.value else not_(there)
    fits = _compared(attributes.c.text, attributes.c.number, operator, term.value)
    return exists(select(attributes.c.device_id).where(mine, fits))


def _compared(
    text: ColumnElement[Any], number: ColumnElement[Any] | None, operator: Operator, value: Operand
) -> ColumnElement[bool]:
    """Texts are compared with texts and numbers with numbers; one never equals the other."""
    if operator is Operator.IN:
        assert isinstance(value, list)
        texts = [one for one in value if isinstance(one, str)]
        numbers = [one for one in value if not isinstance(one, str)]
        choices = [text.in_(texts)] if texts else []
        if numbers and number is not None:
            choices.append(number.in_(numbers))
        return or_(false(), *choices)
    compare = _COMPARISONS[operator]
    if isinstance(value, str):
        return compare(text, value)
    return false() if number is None else compare(number, value)


def _sort_keys(one: Order) -> list[ColumnElement[Any]]:
    column = PROPERTIES.get((one.scope, one.attribute))
    if column is not None:
        return [column]
    return [
        select(kept)
        .where(
            attributes.c.device_id == devices.c.id,
            attributes.c.scope == one.scope,
            attributes.c.name == one.attribute,
            attributes.c.position <= 0,
        )
        .scalar_subquery()
        for kept in (attributes.c.number, attributes.c.text)
    ]
