# SPDX-License-Identifier: Apache-2.0
"""What a device gets to do: the deployment it is given when it asks, and what it reports of it."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from server_stub.clock import stamp
from server_stub.domain import deployments as rules
from server_stub.domain.artifacts import Artifact
from server_stub.domain.artifacts import choose as choose_artifact
from server_stub.domain.deployments import Asked, Author, Deployment, Entry, Settle, Status
from server_stub.domain.inventory import Scope
from server_stub.domain.logs import Line
from server_stub.errors import NotFound
from server_stub.jobs.settle import close_entry, settle
from server_stub.storage import artifacts, attributes, deployments, devices, entries


@dataclass(frozen=True, slots=True)
class Given:
    """What a device is to install."""

    deployment: Deployment
    artifact: Artifact


@dataclass(frozen=True, slots=True)
class Nothing:
    """Nothing for the device before `until` (None: before something changes); a refusal is told it as a conflict."""

    until: datetime | None = None
    refusal: str | None = None


@dataclass(frozen=True, slots=True)
class _Outlook:
    """A device's unfinished parts, and the deployments they belong to."""

    waiting: Sequence[Entry]
    orders: Mapping[str, Deployment]


def idle(connection: Connection, device: str, open_ones: Sequence[Deployment], now: datetime) -> Nothing | None:
    """Whether there is nothing for the device, without writing; None if there may be something.

    `open_ones`: the deployments that devices come to by themselves.
    """
    outlook = _outlook(connection, device)
    if rules.choose(outlook.waiting, outlook.orders, now) is not None:
        return None
    if any(_may_join(connection, one, device, now) for one in open_ones):
        return None
    openings = [one.plan.next_opening(now) for one in (*outlook.orders.values(), *open_ones)]
    return Nothing(min((one for one in openings if one is not None), default=None))


def poll(
    connection: Connection, device: str, asked: Asked, provides: Mapping[str, str], now: datetime
) -> Given | Nothing:
    """Give the device what it is to do next, or settle what it has not to do."""
    for one in deployments.open_to_all(connection):
        if _may_join(connection, one, device, now):
            entries.join(connection, one, device, stamp(now))
    outlook = _outlook(connection, device)
    entry = rules.choose(outlook.waiting, outlook.orders, now)
    if entry is None:
        return Nothing()
    order = outlook.orders[entry.deployment_id]
    artifact = _artifact_for(connection, entry, asked, provides)
    answer = rules.answer(entry, asked, artifact.id if artifact else None)
    ts = stamp(now)
    if isinstance(answer, Settle):
        settled = replace(rules.move(entry, answer.status, None, ts), asked=entry.asked or asked)
        close_entry(connection, entry, settled, ts, Author.SERVER)
        return Nothing(refusal=answer.refusal)
    assert artifact is not None
    if entry.artifact_id is None:
        if not entry.counted:
            deployments.begin_one(connection, order.id)
        phase = entry.phase if entry.counted else order.plan.current(now)
        given = replace(entry, asked=asked, artifact_id=artifact.id, counted=True, phase=phase)
        entries.save(connection, entry, given)
    return Given(order, artifact)


def report(
    connection: Connection, deployment: str, device: str, status: Status, substate: str | None, now: str
) -> None:
    """Take a device's word; all of it is written down, also what comes too late to change anything."""
    entry = _existing(connection, deployment, device)
    steps = rules.report(entry, status, substate, now)
    entries.record(connection, entry, status, substate, now, Author.DEVICE)
    if not steps:
        return
    entries.save(connection, entry, steps[-1])
    if len(steps) > 1:
        entries.record(connection, entry, steps[-1].status, None, now, Author.SERVER)
    settle(connection, deployment, entry.status, steps[-1].status, now)


def keep_log(connection: Connection, deployment: str, device: str, lines: Sequence[Line]) -> None:
    entry = _existing(connection, deployment, device)
    entries.save_log(connection, entry, json.dumps([asdict(line) for line in lines]))


def _outlook(connection: Connection, device: str) -> _Outlook:
    unfinished = entries.unfinished(connection, device)
    waiting = rules.waiting(unfinished, entries.last_finished(connection, device)) if unfinished else []
    orders = deployments.by_ids(connection, {one.deployment_id for one in waiting}) if waiting else {}
    return _Outlook(waiting, orders)


def _may_join(connection: Connection, order: Deployment, device: str, now: datetime) -> bool:
    if not order.may_begin(now) or entries.is_part(connection, order.id, device):
        return False
    if order.order < entries.last_finished(connection, device):
        return False
    if order.target.limit is not None:
        counts = entries.counts(connection, [order.id])[order.id]
        if sum(counts.values()) >= order.target.limit:
            return False
    return devices.fits(connection, device, order.target.terms)


def _artifact_for(connection: Connection, entry: Entry, asked: Asked, provides: Mapping[str, str]) -> Artifact | None:
    """What the device was promised once stays its artifact until the deployment ends."""
    if entry.artifact_id is not None:
        return artifacts.by_id(connection, entry.artifact_id)
    # The oldest clients say only two things when they ask; the rest is in their inventory.
    known = attributes.texts_of(connection, entry.device_id, Scope.INVENTORY)
    told = {"device_type": asked.device_type, "artifact_name": asked.artifact_name}
    return choose_artifact(artifacts.by_name(connection, entry.artifact_name), {**known, **provides, **told})


def _existing(connection: Connection, deployment: str, device: str) -> Entry:
    entry = entries.by_key(connection, deployment, device)
    if entry is None:
        raise NotFound("There is no such deployment for this device.")
    return entry
