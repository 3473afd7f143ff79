# SPDX-License-Identifier: Apache-2.0
"""The server about itself: whether it works, and its numbers."""

from typing import Any

from fastapi import Response
from sqlalchemy import Connection

from server_stub.api.kit import Model, ServicesDep, Viewer, refusals, router
from server_stub.domain.deployments import FINISHED
from server_stub.front.metrics import CONTENT_TYPE
from server_stub.storage import devices, entries, revisions

routes = router("", "system")


class Health(Model):
    status: str = "ok"


@routes.get("/healthz", response_model=Health)
async def health(services: ServicesDep) -> Any:
    """Whether the server can read its database."""
    await services.read(revisions.read)
    return Health()


@routes.get(
    "/metrics",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(401, 403)},
)
async def metrics(services: ServicesDep, _: Viewer) -> Response:
    """Numbers for Prometheus, which can be given a token."""

    def look(link: Connection) -> tuple[dict[str, int], dict[str, int]]:
        return devices.counts(link), entries.open_counts(link)

    by_status, open_parts = await services.read(look)
    kept = services.metrics
    for status in ("accepted", "pending", "rejected", "preauthorized", "noauth"):
        kept.devices.labels(status).set(by_status.get(status, 0))
    for status, number in open_parts.items():
        if status not in FINISHED:
            kept.parts.labels(status).set(number)
    kept.waiting.set(services.writer.waiting)
    return Response(kept.render(), media_type=CONTENT_TYPE)
