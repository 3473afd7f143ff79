# SPDX-License-Identifier: Apache-2.0
"""A write log in short: how much went where, and where the steps stand.  Refuses to judge it."""

from __future__ import annotations

from typing import Any

from harness.storage.crash import flushes
from harness.storage.marks import marks
from harness.storage.writelog import Kind, WriteLog
from images.layout import Layout, Window


def summary(log: WriteLog, layout: Layout) -> dict[str, Any]:
    """JSON-able: operations, flushes, and for each area its writes and bytes; the marks with their positions."""
    areas: dict[str, dict[str, int]] = {}
    for operation in log.operations:
        if operation.kind is Kind.WRITE:
            area = areas.setdefault(_area(operation.address, layout).name, {"writes": 0, "bytes": 0})
            area["writes"] += 1
            area["bytes"] += operation.length
    return {
        "operations": len(log.operations),
        "flushes": flushes(log.operations),
        "areas": areas,
        "marks": [{"position": position, "name": mark.name} for position, mark in marks(log, layout)],
    }


def _area(address: int, layout: Layout) -> Window:
    """The partition that holds an address, else the window."""
    for part in layout.partitions:
        place = layout.partition(part.name)
        if address in place:
            return place
    return layout.window_of(address)
