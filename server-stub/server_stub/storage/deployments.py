# SPDX-License-Identifier: Apache-2.0
"""Rows of deployments: what was ordered and how far it is. Each device's part is in entries."""

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, Select, bindparam, insert, select, update

from server_stub.clock import read_stamp, stamp
from server_stub.domain.deployments import Deployment, Target, TargetKind
from server_stub.domain.filters import read_terms
from server_stub.domain.rollout import FailureLimit, Phase, Plan, State
from server_stub.storage.page import Page, rows_of
from server_stub.storage.revisions import Topic, touch
from server_stub.storage.schema import deployments, entries


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which deployments of all; the newest come first."""

    name: str | None = None
    artifact_name: str | None = None
    status: str | None = None
    after: str | None = None
    before: str | None = None
    oldest_first: bool = False


def add(connection: Connection, one: Deployment) -> None:
    connection.execute(
        insert(deployments).values(
            id=one.id,
            name=one.name,
            artifact_name=one.artifact_name,
            force=one.force,
            created=one.created,
            target=_written_target(one.target),
            plan=_written_plan(one.plan),
            retries=one.retries,
            failure_limit=_written_limit(one.failure_limit),
            state=one.state,
            control_map=dict(one.control_map) if one.control_map is not None else None,
        )
    )
    touch(connection, Topic.DEPLOYMENTS, Topic.WORK)


def save(connection: Connection, one: Deployment) -> None:
    """Keep what may change of it."""
    values = {
        "plan": _written_plan(one.plan),
        "failure_limit": _written_limit(one.failure_limit),
        "state": one.state,
        "reason": one.reason,
        "begun": one.begun,
        "finished": one.finished,
    }
    connection.execute(update(deployments).where(deployments.c.id == one.id).values(values))
    touch(connection, Topic.DEPLOYMENTS, Topic.WORK)


def begin_one(connection: Connection, deployment: str) -> None:
    """Count a device that begins. Not touched as work: nobody gets more to do by it."""
    connection.execute(_BEGIN_ONE, {"deployment": deployment})


def by_id(connection: Connection, deployment: str) -> Deployment | None:
    return by_ids(connection, [deployment]).get(deployment)


def by_ids(connection: Connection, wanted: Collection[str]) -> dict[str, Deployment]:
    rows = connection.execute(_BY_IDS, {"wanted": list(wanted)})
    return {row.id: _deployment(row) for row in rows}


def listed(connection: Connection, wanted: Wanted, page: Page) -> tuple[list[Deployment], int]:
    query = _wanted(select(deployments), wanted)
    order = deployments.c.order if wanted.oldest_first else deployments.c.order.desc()
    rows, total = rows_of(connection, query.order_by(order), page)
    return [_deployment(row) for row in rows], total


def open_to_all(connection: Connection) -> list[Deployment]:
    """Those that devices come to by themselves, the oldest first."""
    # Most are made of devices that were named; those are left out before they are read whole.
    return [_deployment(row) for row in connection.execute(_OPEN) if row.target["kind"] == TargetKind.FILTER]


# What every poll needs, put together once.
_BEGIN_ONE = (
    update(deployments).where(deployments.c.id == bindparam("deployment")).values(begun=deployments.c.begun + 1)
)
_BY_IDS = select(deployments).where(deployments.c.id.in_(bindparam("wanted", expanding=True)))
_OPEN = (
    select(deployments)
    .where(deployments.c.finished.is_(None), deployments.c.state != str(State.ABORTED))
    .order_by(deployments.c.order)
)


def unfinished_alike(connection: Connection, name: str, artifact_name: str) -> list[str]:
    """The ids of unfinished deployments with the same name and artifact."""
    query = select(deployments.c.id).where(
        deployments.c.finished.is_(None), deployments.c.name == name, deployments.c.artifact_name == artifact_name
    )
    return list(connection.execute(query).scalars())


def unfinished_with(connection: Connection, artifact_name: str) -> bool:
    """Whether an unfinished deployment may come to choose an artifact of this name."""
    query = select(deployments.c.id).where(
        deployments.c.finished.is_(None), deployments.c.artifact_name == artifact_name
    )
    return connection.execute(query.limit(1)).first() is not None


def _wanted(query: Select[Any], wanted: Wanted) -> Select[Any]:
    if wanted.name is not None:
        query = query.where(deployments.c.name.contains(wanted.name, autoescape=True))
    if wanted.artifact_name is not None:
        query = query.where(deployments.c.artifact_name == wanted.artifact_name)
    if wanted.after is not None:
        query = query.where(deployments.c.created >= wanted.after)
    if wanted.before is not None:
        query = query.where(deployments.c.created <= wanted.before)
    begun = select(entries.c.device_id).where(
        entries.c.deployment_id == deployments.c.id, entries.c.status != "pending"
    )
    match wanted.status:
        case "finished":
            return query.where(deployments.c.finished.is_not(None))
        case "unfinished":
            return query.where(deployments.c.finished.is_(None))
        case "inprogress":
            return query.where(deployments.c.finished.is_(None), begun.exists())
        case "pending":
            return query.where(deployments.c.finished.is_(None), ~begun.exists())
    return query


def _deployment(row: Row[Any]) -> Deployment:
    return Deployment(
        id=row.id,
        order=row.order,
        name=row.name,
        artifact_name=row.artifact_name,
        force=row.force,
        created=row.created,
        finished=row.finished,
        target=_target(row.target),
        plan=_plan(row.plan, read_stamp(row.created)),
        retries=row.retries,
        failure_limit=FailureLimit(**row.failure_limit) if row.failure_limit else None,
        state=State(row.state),
        reason=row.reason,
        begun=row.begun,
        control_map=row.control_map,
    )


def _written_target(target: Target) -> dict[str, Any]:
    terms = [term.written() for term in target.terms]
    return {"kind": target.kind, "group": target.group, "terms": terms, "limit": target.limit}


def _target(written: Mapping[str, Any]) -> Target:
    terms = read_terms(written.get("terms") or ())
    return Target(TargetKind(written["kind"]), written.get("group"), terms, written.get("limit"))


def _written_limit(limit: FailureLimit | None) -> dict[str, Any] | None:
    return {"percent": limit.percent, "count": limit.count, "minimum": limit.minimum} if limit else None


def _written_plan(plan: Plan) -> dict[str, Any]:
    phases = [
        {
            "percent": phase.percent,
            "count": phase.count,
            "start": stamp(phase.start) if phase.start else None,
            "delay": phase.delay.total_seconds(),
            "waits": phase.waits,
        }
        for phase in plan.phases
    ]
    return {"phases": phases, "size": plan.size, "released": [stamp(one) for one in plan.released]}


def _plan(written: Mapping[str, Any], created: datetime) -> Plan:
    phases = tuple(_phase(one) for one in written["phases"])
    released = tuple(read_stamp(one) for one in written["released"])
    return Plan(phases, created, written["size"], released)


def _phase(written: Mapping[str, Any]) -> Phase:
    start = written.get("start")
    return Phase(
        percent=written.get("percent"),
        count=written.get("count"),
        start=read_stamp(start) if start else None,
        delay=timedelta(seconds=written.get("delay") or 0),
        waits=bool(written.get("waits")),
    )


def finish_if_over(connection: Connection, deployment: str, now: str, *, over: bool) -> None:
    """Note that nothing can come any more, or that something can again; the time of the first end is kept."""
    statement = update(deployments).where(deployments.c.id == deployment)
    if over:
        statement = statement.where(deployments.c.finished.is_(None)).values(finished=now)
    else:
        statement = statement.where(deployments.c.finished.is_not(None)).values(finished=None)
    connection.execute(statement)
