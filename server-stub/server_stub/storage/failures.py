# SPDX-License-Identifier: Apache-2.0
"""What failed lately, over all deployments. Reads the rows that entries writes."""

from dataclasses import dataclass

from sqlalchemy import Connection, select

from server_stub.domain.deployments import Status
from server_stub.storage.schema import deployments, entries, tallies

# Only the newest deployments with failures are looked into: the tallies say which, so that no large table is searched.
LOOKED_INTO = 5


@dataclass(frozen=True, slots=True)
class Failure:
    deployment_id: str
    name: str
    artifact_name: str
    device_id: str
    finished: str | None
    has_log: bool


def latest(connection: Connection, most: int) -> list[Failure]:
    """The failures of the newest deployments that have some, the latest first."""
    newest = (
        select(deployments.c.id)
        .join(tallies)
        .where(tallies.c.status == Status.FAILURE, tallies.c.number > 0)
        .order_by(deployments.c.order.desc())
        .limit(LOOKED_INTO)
    )
    query = (
        select(
            entries.c.deployment_id,
            deployments.c.name,
            deployments.c.artifact_name,
            entries.c.device_id,
            entries.c.finished,
            entries.c.log.is_not(None).label("has_log"),
        )
        .join(deployments)
        .where(entries.c.deployment_id.in_(newest), entries.c.status == Status.FAILURE)
        .order_by(entries.c.finished.desc(), entries.c.device_id)
        .limit(most)
    )
    return [
        Failure(row.deployment_id, row.name, row.artifact_name, row.device_id, row.finished, bool(row.has_log))
        for row in connection.execute(query)
    ]
