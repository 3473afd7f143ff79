# SPDX-License-Identifier: Apache-2.0
"""Artifacts for people: the list with its upload, and one artifact with all that it says of itself."""

from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request, Response
from fastapi.responses import RedirectResponse
from sqlalchemy import Connection

from server_stub.api import deployment_shown
from server_stub.api.artifacts import existing
from server_stub.api.artifacts import shown as artifact_shown
from server_stub.api.kit import PageDep, ServicesDep, Text
from server_stub.clock import now
from server_stub.domain import links
from server_stub.storage import artifacts, deployments
from server_stub.storage.page import Page
from server_stub.web.render import Visitor, page, paging, router

routes = router()
MOST_DEPLOYMENTS = 20


@routes.get("/ui/artifacts")
async def list_all(
    request: Request,
    services: ServicesDep,
    _: Visitor,
    part: PageDep,
    q: Annotated[Text, Query(max_length=256, description="the beginning of the name")] = "",
) -> Response:
    wanted = artifacts.Wanted(prefix=q.strip() or None, descending=True)

    def look(link: Connection) -> tuple[list[Any], int, int]:
        found, total = artifacts.listed(link, wanted, part)
        return [artifact_shown(one) for one in found], total, artifacts.stored(link)

    found, total, stored = await services.read(look)
    return page(request, "artifacts.html", artifacts=found, stored=stored, q=q, paging=paging(request, part, total))


@routes.get("/ui/artifacts/{artifact_id}")
async def get_one(request: Request, services: ServicesDep, _: Visitor, artifact_id: Text) -> Response:
    def look(link: Connection) -> dict[str, Any]:
        artifact = existing(link, artifact_id)
        wanted = deployments.Wanted(artifact_name=artifact.facts.name)
        found, total = deployments.listed(link, wanted, Page(1, MOST_DEPLOYMENTS))
        return {
            "artifact": artifact_shown(artifact),
            "deployments": deployment_shown.deployments_shown(link, found),
            "total": total,
        }

    return page(request, "artifact.html", **await services.read(look))


@routes.get("/ui/artifacts/{artifact_id}/download")
async def download(services: ServicesDep, _: Visitor, artifact_id: Text) -> Response:
    """On to a fresh link of the kind that devices get."""
    await services.read(partial(existing, artifact_id=artifact_id))
    token = links.sign(services.secret, artifact_id, links.OPERATOR, now() + links.LIFE)
    return RedirectResponse(f"/artifacts/download/{artifact_id}?token={token}", status_code=303)
