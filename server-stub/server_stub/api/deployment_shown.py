# SPDX-License-Identifier: Apache-2.0
"""Deployments and their parts as the interface writes them."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Connection

from server_stub.clock import stamp
from server_stub.domain import deployments as rules
from server_stub.domain.deployments import Deployment, Entry, Status
from server_stub.storage import artifacts, deployments, entries


def deployments_shown(link: Connection, found: Sequence[Deployment]) -> list[dict[str, Any]]:
    counts = entries.counts(link, [one.id for one in found])
    ids = artifacts.ids_by_name(link, {one.artifact_name for one in found})
    return [_shown(one, counts[one.id], ids[one.artifact_name]) for one in found]


def _shown(one: Deployment, counts: dict[Status, int], artifact_ids: list[str]) -> dict[str, Any]:
    number = sum(counts.values())
    target, limit = one.target, one.failure_limit
    openings = one.plan.openings()
    return {
        "id": one.id,
        "name": one.name,
        "artifact_name": one.artifact_name,
        "artifacts": artifact_ids,
        "status": rules.overall(counts, one.finished),
        "state": one.state,
        "reason": one.reason,
        "created": one.created,
        "finished": one.finished,
        "device_count": number,
        "max_devices": target.limit or number,
        "initial_device_count": one.plan.size,
        "force_installation": one.force,
        "groups": [target.group] if target.group else [],
        "filter": {"terms": [term.written() for term in target.terms]} if target.terms else None,
        "dynamic": target.kind is rules.TargetKind.FILTER,
        "phases": [
            {
                "batch_size": phase.percent,
                "device_count": phase.count,
                "start_ts": stamp(opening) if opening else None,
                "pause": phase.waits,
            }
            for phase, opening in zip(one.plan.phases, openings, strict=True)
        ],
        "retries": one.retries,
        "failure_limit": {"percent": limit.percent, "count": limit.count, "minimum_devices": limit.minimum}
        if limit
        else None,
        "update_control_map": one.control_map,
        "statistics": {"status": rules.statistics(counts)},
    }


def parts_shown(link: Connection, found: Sequence[Entry]) -> list[dict[str, Any]]:
    histories = entries.history_of(link, found)
    return [
        {
            "id": one.device_id,
            "status": one.status,
            "substate": one.substate,
            "created": one.created,
            "started": one.started,
            "finished": one.finished,
            "log": one.has_log,
            "attempts": one.attempts,
            "phase": one.phase,
            "image": {"id": one.artifact_id} if one.artifact_id else None,
            "history": [
                {"status": row.status, "substate": row.substate, "time": row.time, "by": row.author}
                for row in histories[one.deployment_id, one.device_id]
            ],
        }
        for one in found
    ]


def parts_of_device(link: Connection, found: Sequence[Entry]) -> list[dict[str, Any]]:
    orders = deployments.by_ids(link, [one.deployment_id for one in found])
    written = {one["id"]: one for one in deployments_shown(link, list(orders.values()))}
    return [
        {"id": f"{one.deployment_id}.{one.device_id}", "deployment": written[one.deployment_id], "device": part}
        for one, part in zip(found, parts_shown(link, found), strict=True)
    ]


def moment(seconds: float | None) -> str | None:
    """A query's time as the database keeps times."""
    return None if seconds is None else stamp(datetime.fromtimestamp(seconds, UTC))
