# SPDX-License-Identifier: Apache-2.0
"""All pages together, and what is answered where there is none."""

from fastapi import Request, Response

from server_stub.errors import NotFound
from server_stub.web import artifacts, deployments, devices, fleet
from server_stub.web.render import Visitor, router

routes = router()
for _module in (fleet, devices, artifacts, deployments):
    routes.include_router(_module.routes)


@routes.get("/ui/{rest:path}")
async def nothing(_request: Request, _: Visitor, rest: str) -> Response:
    raise NotFound(f"There is no page /ui/{rest[:80]} here.")
