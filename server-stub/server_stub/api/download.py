# SPDX-License-Identifier: Apache-2.0
"""Artifact downloads: whole or from an offset, always with a length, never with a redirect.

The link is the permission; bytes behind a link never change, so a download may go on after any break.
"""

from starlette.responses import Response, StreamingResponse
from starlette.routing import Route

from server_stub.api.calls import Call, endpoint
from server_stub.clock import now
from server_stub.domain import links
from server_stub.domain.ranges import Span, Unsatisfiable, read_range
from server_stub.errors import NotFound
from server_stub.lab.journal import name_device
from server_stub.storage import artifacts

MEDIA_TYPE = "application/vnd.mender-artifact"


def download(call: Call) -> Response:
    artifact_id = call.path("artifact")
    device = links.device_of(call.services.secret, artifact_id, call.query("token") or "", now())
    name_device(call.request.scope, device)
    with call.services.database.reading() as connection:
        artifact = artifacts.by_id(connection, artifact_id)
    if artifact is None:
        raise NotFound("The artifact has been deleted.")
    headers = {"Accept-Ranges": "bytes"}
    try:
        span = read_range(call.header("range"), artifact.size)
    except Unsatisfiable:
        return Response(status_code=416, headers={**headers, "Content-Range": f"bytes */{artifact.size}"})
    whole = Span(0, artifact.size - 1)
    sent = span or whole
    headers["Content-Length"] = str(sent.length)
    if span is not None:
        headers["Content-Range"] = f"bytes {span.first}-{span.last}/{artifact.size}"
    status = 200 if span is None else 206
    if call.request.method == "HEAD":
        return Response(status_code=status, headers=headers, media_type=MEDIA_TYPE)
    content = call.services.blobs.read(artifact.id, sent.first, sent.length)
    return StreamingResponse(content, status_code=status, headers=headers, media_type=MEDIA_TYPE)


routes = [Route("/artifacts/download/{artifact}", endpoint(download), methods=["GET"])]
