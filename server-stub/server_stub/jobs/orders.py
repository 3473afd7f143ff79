# SPDX-License-Identifier: Apache-2.0
"""What the operator orders: a deployment, its pause, its going on, its end."""

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import Connection

from server_stub.clock import stamp
from server_stub.domain.deployments import Author, Deployment, Status, Target, TargetKind, move
from server_stub.domain.rollout import FailureLimit, Phase, Plan, State
from server_stub.errors import Conflict, Malformed, NotFound, Unprocessable
from server_stub.jobs.settle import close_entry
from server_stub.storage import artifacts, deployments, devices, entries
from server_stub.storage.search import check_patterns


@dataclass(frozen=True, slots=True)
class Order:
    """A deployment as the operator words it; `devices` only if the target is made of them."""

    name: str
    artifact_name: str
    target: Target
    devices: Sequence[str] = ()
    force: bool = False
    phases: tuple[Phase, ...] = (Phase(),)
    retries: int = 0
    failure_limit: FailureLimit | None = None
    control_map: Mapping[str, Any] | None = None


def create(connection: Connection, order: Order, now: datetime) -> str:
    """Begin a deployment; its id. Raises Malformed, Unprocessable, Conflict."""
    if not artifacts.by_name(connection, order.artifact_name):
        raise Unprocessable(f"There is no artifact {order.artifact_name!r}: upload it first.")
    check_patterns(connection, order.target.terms)
    size = _size(connection, order)
    made = Deployment(
        id=str(uuid.uuid4()),
        order=0,
        name=order.name,
        artifact_name=order.artifact_name,
        force=order.force,
        created=stamp(now),
        finished=None,
        target=order.target,
        plan=Plan(order.phases, now, size),
        retries=order.retries,
        failure_limit=order.failure_limit,
        state=State.RUNNING,
        reason=None,
        begun=0,
        control_map=order.control_map,
    )
    alike = deployments.unfinished_alike(connection, order.name, order.artifact_name)
    deployments.add(connection, made)
    _add_entries(connection, made, order)
    mine = _members(connection, made)
    if any(_members(connection, deployments.by_id(connection, one)) == mine for one in alike):
        raise Conflict("The same deployment for the same devices is not finished yet: wait for it or abort it.")
    return made.id


def abort(connection: Connection, deployment: str, now: str) -> None:
    """End a deployment for all that have not ended; they are told at their next word."""
    order = existing(connection, deployment)
    if order.finished is not None:
        raise Unprocessable("The deployment is already finished.")
    deployments.save(connection, replace(order, state=State.ABORTED, finished=now))
    entries.close_all(connection, deployment, Status.ABORTED, now, Author.OPERATOR)


def abort_for(connection: Connection, device: str, now: str) -> None:
    """End all that one device has not ended."""
    for entry in entries.unfinished(connection, device):
        close_entry(connection, entry, move(entry, Status.ABORTED, None, now), now, Author.OPERATOR)


def pause(connection: Connection, deployment: str) -> None:
    """Let no further device begin."""
    order = _unfinished(connection, deployment)
    if order.state is State.RUNNING:
        deployments.save(connection, replace(order, state=State.PAUSED, reason=None))


def go_on(connection: Connection, deployment: str, now: datetime) -> None:
    """Lift a pause or a halt; if there is none, let the phase begin that waits for the operator."""
    order = _unfinished(connection, deployment)
    if order.state in (State.PAUSED, State.HALTED):
        # A halt is lifted for good: whoever does it has seen the failures.
        limit = None if order.state is State.HALTED else order.failure_limit
        deployments.save(connection, replace(order, state=State.RUNNING, reason=None, failure_limit=limit))
    elif order.plan.waiting:
        plan = replace(order.plan, released=(*order.plan.released, now))
        deployments.save(connection, replace(order, plan=plan))
    else:
        raise Unprocessable("The deployment is running, and none of its phases waits for you.")


def existing(connection: Connection, deployment: str) -> Deployment:
    order = deployments.by_id(connection, deployment)
    if order is None:
        raise NotFound("There is no such deployment.")
    return order


def _unfinished(connection: Connection, deployment: str) -> Deployment:
    order = existing(connection, deployment)
    if order.finished is not None:
        raise Unprocessable("The deployment is already finished.")
    return order


def _size(connection: Connection, order: Order) -> int:
    """How many devices the percentages are of."""
    target = order.target
    match target.kind:
        case TargetKind.DEVICES:
            unknown = set(order.devices) - set(devices.by_ids(connection, order.devices))
            if unknown:
                # A mistyped id would wait for ever.
                raise Malformed(f"There is no device {min(unknown)[:80]!r}.")
            return len(set(order.devices))
        case TargetKind.FILTER:
            return target.limit or devices.count(connection, "accepted", target.terms)
    return devices.count_members(connection, target.group)


def _add_entries(connection: Connection, made: Deployment, order: Order) -> None:
    match order.target.kind:
        case TargetKind.DEVICES:
            entries.add(connection, made, list(dict.fromkeys(order.devices)))
        case TargetKind.GROUP | TargetKind.ALL:
            if entries.add_accepted(connection, made, order.target.group) == 0:
                whom = "in this group " if order.target.group else ""
                raise Malformed(f"No device {whom}is accepted yet, so there is none to deploy to.")


def _members(connection: Connection, order: Deployment | None) -> tuple[Target | None, set[str]]:
    """What makes two deployments the same: the filter, or the devices."""
    assert order is not None
    if order.target.kind is TargetKind.FILTER:
        return order.target, set()
    return None, entries.devices_of(connection, order.id)
