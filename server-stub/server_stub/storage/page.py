# SPDX-License-Identifier: Apache-2.0
"""A page of a list: which rows, and how many there are in all."""

from dataclasses import dataclass
from typing import Any

from sqlalchemy import Connection, Row, Select, func, select


@dataclass(frozen=True, slots=True)
class Page:
    number: int = 1
    size: int = 20


def rows_of(connection: Connection, query: Select[Any], page: Page) -> tuple[list[Row[Any]], int]:
    total = connection.execute(select(func.count()).select_from(query.order_by(None).subquery())).scalar_one()
    wanted = query.limit(page.size).offset((page.number - 1) * page.size)
    return list(connection.execute(wanted)), total
