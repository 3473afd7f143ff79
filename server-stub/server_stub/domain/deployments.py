# SPDX-License-Identifier: Apache-2.0
"""Deployments: which one a device gets next, and what a reported status changes.

A device's word is taken as it comes, but for two cases in which it cannot be its last one: a deployment that has
ended for the device does not begin again by a report that was late, and a failure that was answered with another
attempt is not counted twice. What the operator or the server ended for good (aborted, decommissioned) refuses all.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import Any

from server_stub.domain.filters import Term
from server_stub.domain.rollout import FailureLimit, Plan, State
from server_stub.errors import Conflict


class Status(StrEnum):
    PENDING = "pending"
    DOWNLOADING = "downloading"
    INSTALLING = "installing"
    REBOOTING = "rebooting"
    PAUSE_BEFORE_INSTALLING = "pause_before_installing"
    PAUSE_BEFORE_REBOOTING = "pause_before_rebooting"
    PAUSE_BEFORE_COMMITTING = "pause_before_committing"
    SUCCESS = "success"
    FAILURE = "failure"
    ALREADY_INSTALLED = "already-installed"
    NOARTIFACT = "noartifact"
    ABORTED = "aborted"
    DECOMMISSIONED = "decommissioned"


CLOSED = frozenset({Status.ABORTED, Status.DECOMMISSIONED})
FINISHED = CLOSED | {Status.SUCCESS, Status.FAILURE, Status.ALREADY_INSTALLED, Status.NOARTIFACT}
PAUSED = frozenset({Status.PAUSE_BEFORE_INSTALLING, Status.PAUSE_BEFORE_REBOOTING, Status.PAUSE_BEFORE_COMMITTING})
# What a device may say; the others are the server's own.
REPORTABLE = frozenset(Status) - CLOSED - {Status.PENDING, Status.NOARTIFACT}


class Author(StrEnum):
    """Who gave a deployment of a device its status."""

    DEVICE = "device"
    SERVER = "server"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Asked:
    """What a device said of itself when it asked for a deployment."""

    device_type: str
    artifact_name: str


class TargetKind(StrEnum):
    DEVICES = "devices"
    GROUP = "group"
    ALL = "all"
    FILTER = "filter"
    """those that match it, also those that come to match it while the deployment runs"""


@dataclass(frozen=True, slots=True)
class Target:
    """Whom a deployment is for."""

    kind: TargetKind
    group: str | None = None
    terms: tuple[Term, ...] = ()
    limit: int | None = None
    """at most so many devices in all; for a filter only"""


@dataclass(frozen=True, slots=True)
class Deployment:
    """What the operator ordered, and how far it is. `begun`: devices that were ever given the artifact."""

    id: str
    order: int
    name: str
    artifact_name: str
    force: bool
    created: str
    finished: str | None
    target: Target
    plan: Plan
    retries: int
    failure_limit: FailureLimit | None
    state: State
    reason: str | None
    begun: int
    control_map: Mapping[str, Any] | None = None

    @property
    def is_open(self) -> bool:
        """Whether devices may still come to it by themselves."""
        return self.target.kind is TargetKind.FILTER and self.finished is None and self.state is not State.ABORTED

    def may_begin(self, now: datetime) -> bool:
        return self.state is State.RUNNING and self.begun < self.plan.quota(now)


@dataclass(frozen=True, slots=True)
class Entry:
    """One device's part in a deployment.

    `asked` and `artifact_id` are there once the device has been given the artifact in this attempt; `counted` once it
    has in any. `attempts`: how many have failed before, of the `retries` that may.
    """

    deployment_id: str
    order: int
    device_id: str
    artifact_name: str
    force: bool
    retries: int
    status: Status
    substate: str | None
    created: str
    started: str | None
    finished: str | None
    asked: Asked | None
    artifact_id: str | None
    has_log: bool
    attempts: int = 0
    counted: bool = False
    phase: int | None = None

    @property
    def has_begun(self) -> bool:
        return self.asked is not None or self.status is not Status.PENDING


@dataclass(frozen=True, slots=True)
class Offer:
    """Give the device this artifact."""

    artifact_id: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Nothing to give: the device's part is over. A refusal is told to the device as a conflict."""

    status: Status
    refusal: str | None = None


def waiting(entries: Sequence[Entry], last_finished: int) -> list[Entry]:
    """A device's unfinished parts, the oldest first.

    A part never begun is left out if the device has already finished a later deployment (its order is
    `last_finished`): nobody wants to be sent back to an older version.
    """
    kept = [one for one in entries if one.status not in FINISHED and (one.has_begun or one.order > last_finished)]
    return sorted(kept, key=lambda one: one.order)


def choose(entries: Sequence[Entry], orders: Mapping[str, Deployment], now: datetime) -> Entry | None:
    """The first of the waiting parts that has begun or may begin.

    One that may not yet (a later phase, a pause) does not hold up the one behind it: that may be the urgent fix.
    """
    for one in entries:
        order = orders[one.deployment_id]
        if one.has_begun or (order.state is State.RUNNING and (one.counted or order.may_begin(now))):
            return one
    return None


def answer(entry: Entry, asked: Asked, artifact_id: str | None) -> Offer | Settle:
    if entry.asked is not None and entry.asked != asked:
        return Settle(
            Status.FAILURE,
            f"The device asked as {entry.asked.artifact_name} on {entry.asked.device_type} before and as "
            f"{asked.artifact_name} on {asked.device_type} now: its deployment has failed.",
        )
    if artifact_id is None:
        return Settle(Status.NOARTIFACT)
    if not entry.force and entry.status is Status.PENDING and asked.artifact_name == entry.artifact_name:
        return Settle(Status.ALREADY_INSTALLED)
    return Offer(artifact_id)


def move(entry: Entry, status: Status, substate: str | None, now: str) -> Entry:
    """The entry after a status; the same status again changes nothing but the sub-state."""
    if entry.status in CLOSED:
        raise Conflict(f"This deployment is {entry.status} for this device.")
    if entry.status is status:
        return replace(entry, substate=substate)
    return replace(
        entry,
        status=status,
        substate=substate,
        started=entry.started or now,
        finished=now if status in FINISHED else None,
    )


def report(entry: Entry, status: Status, substate: str | None, now: str) -> tuple[Entry, ...]:
    """The entry after a device's report: its states one after the other, none if the report is too late to count."""
    if entry.status not in CLOSED and _is_late(entry, status):
        return ()
    moved = move(entry, status, substate, now)
    if status is Status.FAILURE and entry.status not in FINISHED and entry.attempts < entry.retries:
        again = replace(
            moved,
            status=Status.PENDING,
            substate=None,
            finished=None,
            asked=None,
            artifact_id=None,
            attempts=entry.attempts + 1,
        )
        return moved, again
    return (moved,)


def _is_late(entry: Entry, status: Status) -> bool:
    if entry.status in FINISHED:
        return status not in FINISHED
    # Not given out again since the last failure: what comes now belongs to the attempt before.
    return entry.attempts > 0 and not entry.has_begun


def overall(counts: Mapping[Status, int], finished: str | None) -> str:
    if finished is not None:
        return "finished"
    return "pending" if all(one is Status.PENDING for one, number in counts.items() if number) else "inprogress"


def is_over(order: Deployment, counts: Mapping[Status, int]) -> bool:
    """Whether nothing can come any more, from the number of devices in each status."""
    if any(number for status, number in counts.items() if status not in FINISHED):
        return False
    if not order.is_open:
        return True
    return order.target.limit is not None and sum(counts.values()) >= order.target.limit


def statistics(counts: Mapping[Status, int]) -> dict[str, int]:
    """Every status has its place, also where nobody has it."""
    return {str(status): counts.get(status, 0) for status in Status}
