# SPDX-License-Identifier: Apache-2.0
"""Artifact downloads: whole or from an offset, always with a length, never with a redirect.

The link is the permission; bytes behind a link never change, so a download may go on after any break.
"""

from functools import partial
from typing import Annotated, Any

from fastapi import Header, Query, Request, Response
from starlette.responses import StreamingResponse

from server_stub.api.kit import ServicesDep, Text, refusals, router
from server_stub.clock import now
from server_stub.domain import links
from server_stub.domain.ranges import Span, Unsatisfiable, read_range
from server_stub.errors import NotFound
from server_stub.lab.journal import name_device
from server_stub.storage import artifacts

MEDIA_TYPE = "application/vnd.mender-artifact"
routes = router("", "download")
_BYTES: dict[str, Any] = {"content": {MEDIA_TYPE: {"schema": {"type": "string", "format": "binary"}}}}
_ANSWERS: dict[int | str, dict[str, Any]] = {
    200: {"description": "The artifact.", **_BYTES},
    206: {"description": "A part of it.", **_BYTES},
    **refusals(403, 404, 416),
}


@routes.get("/artifacts/download/{artifact_id}", response_class=StreamingResponse, responses=_ANSWERS)
@routes.head("/artifacts/download/{artifact_id}", response_class=Response, responses=_ANSWERS)
async def download(
    request: Request,
    services: ServicesDep,
    artifact_id: Text,
    token: Annotated[Text, Query(description="part of the link")] = "",
    asked: Annotated[str | None, Header(alias="Range", description="one range of bytes")] = None,
) -> Response:
    """An artifact, by the link that came with a deployment."""
    name_device(request.scope, links.device_of(services.secret, artifact_id, token, now()))
    size = await services.read(partial(artifacts.size_of, artifact=artifact_id))
    if size is None:
        raise NotFound("The artifact has been deleted.")
    headers = {"Accept-Ranges": "bytes"}
    try:
        span = read_range(asked, size)
    except Unsatisfiable:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{size}"})
    sent = span or Span(0, size - 1)
    headers["Content-Length"] = str(sent.length)
    if span is not None:
        headers["Content-Range"] = f"bytes {span.first}-{span.last}/{size}"
    status = 200 if span is None else 206
    if request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=MEDIA_TYPE)
    content = services.store.read(artifact_id, sent.first, sent.length)
    return StreamingResponse(content, status_code=status, headers=headers, media_type=MEDIA_TYPE)
