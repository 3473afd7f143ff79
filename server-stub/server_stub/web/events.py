# SPDX-License-Identifier: Apache-2.0
"""The wire from the bell to a page that is looked at: server-sent events that say which kinds of things changed."""

import json
from collections.abc import AsyncIterator
from contextlib import aclosing

from fastapi import APIRouter, Request
from starlette.responses import StreamingResponse

from server_stub.api.kit import ServicesDep, Viewer, user_of
from server_stub.errors import Unauthorized
from server_stub.services import Services
from server_stub.web.render import SECURITY

routes = APIRouter(include_in_schema=False, redirect_slashes=False)
# Milliseconds after which a browser tries again when the connection is lost.
RETRY = 2000
# A proxy that gathers an answer before it passes it on would make the page blind.
_HEADERS = {**SECURITY, "Cache-Control": "no-store", "X-Accel-Buffering": "no"}


@routes.get("/ui/events")
async def events(request: Request, services: ServicesDep, _: Viewer) -> StreamingResponse:
    return StreamingResponse(_told(request, services), media_type="text/event-stream", headers=_HEADERS)


async def _told(request: Request, services: Services) -> AsyncIterator[str]:
    async with aclosing(services.bell.listen()) as changes:
        # A server that is about to end has nothing more to tell.
        if await anext(changes, None) is None:
            return
        # A page that was made before this wire was there sees by the numbers what it has missed.
        yield f"retry: {RETRY}\nevent: now\ndata: {json.dumps({'revisions': services.recent.revisions})}\n\n"
        async for topics in changes:
            try:
                await user_of(request, services)
            except Unauthorized:
                # Logged out, revoked or expired while the page was open.
                return
            yield f"event: change\ndata: {json.dumps({'topics': sorted(topics)})}\n\n" if topics else ": alive\n\n"
