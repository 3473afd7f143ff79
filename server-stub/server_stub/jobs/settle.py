# SPDX-License-Identifier: Apache-2.0
"""A step of one device's part, and what it means for the whole: its end, or its halt."""

from dataclasses import replace

from sqlalchemy import Connection

from server_stub.domain.deployments import FINISHED, Author, Entry, Status, is_over
from server_stub.domain.rollout import State
from server_stub.errors import NotFound
from server_stub.storage import deployments, entries


def close_entry(connection: Connection, before: Entry, after: Entry, now: str, author: Author) -> None:
    """Keep a step that the server or the operator has made, and note it."""
    entries.save(connection, before, after)
    entries.record(connection, after, after.status, after.substate, now, author)
    settle(connection, before.deployment_id, before.status, after.status, now)


def settle(connection: Connection, deployment: str, before: Status, after: Status, now: str) -> None:
    """Note whether the deployment has ended or must halt, if such a step of a device can have done that."""
    if (before in FINISHED) is (after in FINISHED) and after is not Status.FAILURE:
        return
    counts = entries.counts(connection, [deployment])[deployment]
    order = deployments.by_id(connection, deployment)
    if order is None:
        raise NotFound("There is no such deployment.")
    failed, succeeded = counts.get(Status.FAILURE, 0), counts.get(Status.SUCCESS, 0)
    limit = order.failure_limit
    fails = after is Status.FAILURE and order.state is State.RUNNING
    if fails and limit is not None and limit.is_reached(failed, succeeded):
        reason = f"{failed} of {failed + succeeded} devices have failed."
        deployments.save(connection, replace(order, state=State.HALTED, reason=reason))
    deployments.finish_if_over(connection, deployment, now, over=is_over(order, counts))
