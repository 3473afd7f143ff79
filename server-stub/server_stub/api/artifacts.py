# SPDX-License-Identifier: Apache-2.0
"""Artifacts for the operator: upload, list, look at, delete. An upload is kept only if it can be read to its end."""

import uuid
from typing import Any, BinaryIO

from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server_stub.api.calls import Call, check_user, created, done, for_user, paged, read_page, services_of
from server_stub.api.upload import Upload
from server_stub.clock import now, stamp
from server_stub.domain.artifacts import Artifact, inspect
from server_stub.errors import Conflict, NotFound
from server_stub.services import Services
from server_stub.storage import artifacts, deployments

ROOT = "/api/management/v1/deployments/artifacts"


async def upload(request: Request) -> Response:
    # Before the body: nobody unknown gets to fill the disk.
    check_user(request)
    services = services_of(request)
    with services.blobs.draft() as draft:
        received = Upload(request.headers.get("content-type", ""), draft)
        await received.receive(request.stream())
        artifact = await run_in_threadpool(_accept, services, draft, received.field("description"))
    return created(f"{ROOT}/{artifact.id}")


def _accept(services: Services, draft: BinaryIO, description: str) -> Artifact:
    draft.seek(0)
    facts = inspect(draft)
    artifact_id = str(uuid.uuid4())
    # The file before its row: a row without a file would break a download, a file without a row is swept away.
    size = services.blobs.keep(draft, artifact_id)
    artifact = Artifact(artifact_id, facts, description, size, stamp(now()))
    try:
        with services.database.writing() as connection:
            artifacts.add(connection, artifact)
    except BaseException:
        services.blobs.remove(artifact_id)
        raise
    return artifact


def list_all(call: Call) -> Response:
    with call.services.database.reading() as connection:
        found, total = artifacts.listed(connection, call.query("name"), read_page(call))
    return paged([_shown(one) for one in found], total)


def get_one(call: Call) -> Response:
    with call.services.database.reading() as connection:
        return JSONResponse(_shown(_existing(connection, call.path("artifact"))))


def delete(call: Call) -> Response:
    with call.services.database.writing() as connection:
        artifact = _existing(connection, call.path("artifact"))
        if deployments.uses_artifact(connection, artifact.id, artifact.facts.name):
            raise Conflict("An unfinished deployment uses this artifact: abort it first.")
        artifacts.remove(connection, artifact.id)
    call.services.blobs.remove(artifact.id)
    return done()


def _existing(connection: Connection, artifact_id: str) -> Artifact:
    artifact = artifacts.by_id(connection, artifact_id)
    if artifact is None:
        raise NotFound("There is no such artifact.")
    return artifact


def _shown(artifact: Artifact) -> dict[str, Any]:
    facts = artifact.facts
    return {
        "id": artifact.id,
        "name": facts.name,
        "description": artifact.description,
        "device_types_compatible": list(facts.device_types),
        "info": {"format": "mender", "version": 3},
        "signed": facts.signed,
        "updates": [
            {
                "type_info": {"type": facts.payload_type},
                "files": [{"name": file.name, "size": file.size} for file in facts.files],
            }
        ],
        "artifact_provides": dict(facts.provides),
        "artifact_depends": {key: list(values) for key, values in facts.depends.items()},
        "clears_artifact_provides": list(facts.clears or ()),
        "size": artifact.size,
        "modified": artifact.modified,
    }


routes = [
    Route(ROOT, upload, methods=["POST"]),
    Route(ROOT, for_user(list_all), methods=["GET"]),
    Route(f"{ROOT}/{{artifact}}", for_user(get_one), methods=["GET"]),
    Route(f"{ROOT}/{{artifact}}", for_user(delete), methods=["DELETE"]),
]
