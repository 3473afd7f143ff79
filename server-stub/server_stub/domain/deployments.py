# SPDX-License-Identifier: Apache-2.0
"""Deployments: which one a device gets next, and what a reported status changes.

The device's word is taken as it comes: no order of statuses is enforced, a later one overwrites an earlier one.
Only what the operator or the server ended for good (aborted, decommissioned) refuses further reports.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum

from server_stub.errors import Conflict, Malformed


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


FINISHED = frozenset(
    {
        Status.SUCCESS,
        Status.FAILURE,
        Status.ALREADY_INSTALLED,
        Status.NOARTIFACT,
        Status.ABORTED,
        Status.DECOMMISSIONED,
    }
)
CLOSED = frozenset({Status.ABORTED, Status.DECOMMISSIONED})
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


@dataclass(frozen=True, slots=True)
class Entry:
    """One device's part in a deployment."""

    deployment_id: str
    order: int
    device_id: str
    artifact_name: str
    force: bool
    status: Status
    substate: str | None
    created: str
    started: str | None
    finished: str | None
    asked: Asked | None
    artifact_id: str | None
    has_log: bool


@dataclass(frozen=True, slots=True)
class Deployment:
    id: str
    name: str
    artifact_name: str
    force: bool
    created: str
    finished: str | None


@dataclass(frozen=True, slots=True)
class Offer:
    """Give the device this artifact."""

    artifact_id: str


@dataclass(frozen=True, slots=True)
class Settle:
    """Nothing to give: the device's part is over. A refusal is told to the device as a conflict."""

    status: Status
    refusal: str | None = None


def choose(entries: Sequence[Entry]) -> Entry | None:
    """The oldest unfinished part of a device.

    A part never begun is skipped if the device has already finished a later deployment: nobody wants to be sent
    back to an older version.  One that was closed over the device's head says nothing of the kind.
    """
    last_finished = max((one.order for one in entries if one.status in FINISHED - CLOSED), default=-1)
    waiting = [
        one
        for one in entries
        if one.status not in FINISHED and (one.status is not Status.PENDING or one.order > last_finished)
    ]
    return min(waiting, key=lambda one: one.order, default=None)


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


def read_report(value: Mapping[str, object]) -> tuple[Status, str | None]:
    status, substate = value.get("status"), value.get("substate")
    if not isinstance(status, str) or status not in REPORTABLE:
        raise Malformed(f'"status" must be one of {", ".join(sorted(REPORTABLE))}.')
    if substate is not None and not isinstance(substate, str):
        raise Malformed('"substate" must be a text.')
    return Status(status), substate


def overall(statuses: Collection[Status]) -> str:
    if all(one in FINISHED for one in statuses):
        return "finished"
    return "pending" if all(one is Status.PENDING for one in statuses) else "inprogress"


def statistics(counts: Mapping[Status, int]) -> dict[str, int]:
    """Every status has its place, also where nobody has it."""
    return {str(status): counts.get(status, 0) for status in Status}
