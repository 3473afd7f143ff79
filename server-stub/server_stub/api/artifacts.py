# SPDX-License-Identifier: Apache-2.0
"""Artifacts for the operator: upload, list, look at, describe, download, delete."""

import uuid
from collections.abc import Callable
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from server_stub.api.kit import (
    CREATED,
    Deployer,
    Model,
    PageDep,
    ServicesDep,
    Text,
    Viewer,
    created,
    refusals,
    router,
    tell_page,
)
from server_stub.api.upload import Checker, Parts
from server_stub.clock import now, stamp
from server_stub.domain import links
from server_stub.domain.artifacts import Artifact, Facts, inspect
from server_stub.errors import Conflict, NotFound, Refusal, StorageFull
from server_stub.services import Services
from server_stub.storage import artifacts, deployments, entries
from server_stub.storage.artifacts import Wanted
from server_stub.storage.store import Draft
from updater.artifact import ByteSource

ROOT = "/api/management/v1/deployments/artifacts"
routes = router("", "artifacts", 401, 403)
_UPLOAD = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "required": ["artifact"],
                    "properties": {
                        "artifact": {"type": "string", "format": "binary", "description": "the last part"},
                        "description": {"type": "string"},
                        "size": {"type": "integer"},
                    },
                }
            }
        },
    }
}


class FileOut(Model):
    name: str
    size: int = Field(description="bytes, unpacked")
    checksum: str = Field(description="SHA-256; empty for artifacts that came to an older server")


class TypeInfo(Model):
    type: str | None


class UpdateOut(Model):
    type_info: TypeInfo
    files: list[FileOut]


class FormatInfo(Model):
    format: str = "mender"
    version: int = 3


class ArtifactOut(Model):
    id: str
    name: str
    description: str
    device_types_compatible: list[str]
    info: FormatInfo = FormatInfo()
    signed: bool
    verified_by: str | None = Field(description="the server's artifact key that verifies the signature")
    updates: list[UpdateOut]
    artifact_provides: dict[str, str]
    artifact_depends: dict[str, list[str]]
    clears_artifact_provides: list[str]
    size: int
    modified: str


class DescriptionIn(Model):
    description: Annotated[Text, Field(max_length=65_536)] = ""


class LinkOut(Model):
    uri: str
    expire: str


class StorageOut(Model):
    limit: int = Field(description="0 means none")
    usage: int


@routes.post(
    ROOT,
    status_code=201,
    response_class=Response,
    responses={**CREATED, **refusals(422, 507)},
    openapi_extra=_UPLOAD,
)
async def upload(request: Request, services: ServicesDep, _: Deployer) -> Response:
    """Bring an artifact; it is checked to its last byte while it arrives."""
    artifact_id = str(uuid.uuid4())
    limits, keys = services.policy.limits, services.policy.artifact_keys

    def check(stream: ByteSource) -> Facts:
        return inspect(stream, limits.payload, keys)

    # A draft's clean-up is as blocking as its writing is.
    drafting = services.store.draft(artifact_id)
    draft = await run_in_threadpool(drafting.__enter__)
    try:
        await _receive(request, services, draft, artifact_id, check)
    finally:
        await run_in_threadpool(drafting.__exit__, None, None, None)
    return created(f"{ROOT}/{artifact_id}")


async def _receive(
    request: Request, services: Services, draft: Draft, artifact_id: str, check: Callable[[ByteSource], Facts]
) -> None:
    checker = Checker(check)
    try:
        content_type = request.headers.get("content-type", "")
        parts = Parts(content_type, services.policy.limits.artifact, draft, checker)
        async for piece in request.stream():
            await run_in_threadpool(parts.feed, piece)
        parts.finish()
        facts = await run_in_threadpool(checker.finish)
    finally:
        await run_in_threadpool(checker.end)
    artifact = Artifact(artifact_id, facts, parts.field("description"), parts.size, stamp(now()))
    # The file before its row: a row without a file would break a download, a file without a row is swept away. So the
    # file goes only if the row surely is not there: of a broken connection or a cancelled task one cannot know.
    try:
        await run_in_threadpool(draft.keep)
    except OSError as problem:
        raise StorageFull(f"The artifact could not be written: {problem.strerror or problem}.") from None
    try:
        await services.write(partial(artifacts.add, artifact=artifact))
    except Refusal:
        await run_in_threadpool(services.store.remove, artifact_id)
        raise


Sorting = Annotated[
    Literal["name:asc", "name:desc", "modified:asc", "modified:desc"] | None,
    Query(description="oldest first if not said"),
]


@routes.get(ROOT, response_model=list[ArtifactOut])
@routes.get(f"{ROOT}/list", response_model=list[ArtifactOut])
@routes.get("/api/management/v2/deployments/artifacts", response_model=list[ArtifactOut])
async def list_all(
    request: Request,
    response: Response,
    services: ServicesDep,
    _: Viewer,
    page: PageDep,
    name: Annotated[Text | None, Query(max_length=1024, description="the whole name, or its beginning and *")] = None,
    description: Annotated[Text | None, Query(max_length=1024, description="a part of it")] = None,
    device_type: Annotated[Text | None, Query()] = None,
    sort: Sorting = None,
) -> Any:
    """The artifacts."""
    begins = name is not None and name.endswith("*")
    column, _colon, direction = (sort or "modified:asc").partition(":")
    wanted = Wanted(
        name=None if begins else name,
        prefix=name[:-1] if begins and name else None,
        description=description,
        device_type=device_type,
        by_name=column == "name",
        descending=direction == "desc",
    )
    found, total = await services.read(partial(artifacts.listed, wanted=wanted, page=page))
    tell_page(request, response, page, total)
    return [shown(one) for one in found]


@routes.get(f"{ROOT}/{{artifact_id}}", response_model=ArtifactOut, responses=refusals(404))
async def get_one(services: ServicesDep, _: Viewer, artifact_id: Text) -> Any:
    return shown(await services.read(lambda link: existing(link, artifact_id)))


@routes.put(f"{ROOT}/{{artifact_id}}", status_code=204, responses=refusals(404))
async def describe(services: ServicesDep, _: Deployer, artifact_id: Text, asked: DescriptionIn) -> None:
    """Describe an artifact anew; its bytes never change."""
    if not await services.write(partial(artifacts.describe, artifact=artifact_id, description=asked.description)):
        raise NotFound("There is no such artifact.")


@routes.delete(f"{ROOT}/{{artifact_id}}", status_code=204, responses=refusals(404, 409))
async def delete(services: ServicesDep, _: Deployer, artifact_id: Text) -> None:
    await services.write(partial(remove, artifact_id=artifact_id))
    await run_in_threadpool(services.store.remove, artifact_id)


@routes.get(f"{ROOT}/{{artifact_id}}/download", response_model=LinkOut, responses=refusals(404))
async def link_to(request: Request, services: ServicesDep, _: Viewer, artifact_id: Text) -> Any:
    """A link that anybody may download the artifact by, for a day."""
    await services.read(lambda link: existing(link, artifact_id))
    expire = now() + links.LIFE
    token = links.sign(services.secret, artifact_id, links.OPERATOR, expire)
    uri = request.base_url.replace(path=f"/artifacts/download/{artifact_id}", query=f"token={token}")
    return {"uri": str(uri), "expire": stamp(expire)}


@routes.get("/api/management/v1/deployments/limits/storage", response_model=StorageOut)
async def storage(services: ServicesDep, _: Viewer) -> Any:
    """How much the artifacts take."""
    return {"limit": 0, "usage": await services.read(artifacts.stored)}


def existing(link: Connection, artifact_id: str) -> Artifact:
    artifact = artifacts.by_id(link, artifact_id)
    if artifact is None:
        raise NotFound("There is no such artifact.")
    return artifact


def remove(link: Connection, artifact_id: str) -> None:
    """Forget an artifact that nobody uses, and then nobody can; its file comes after it."""
    artifact = existing(link, artifact_id)
    alone = len(artifacts.by_name(link, artifact.facts.name)) == 1
    if entries.uses_artifact(link, artifact_id) or (alone and deployments.unfinished_with(link, artifact.facts.name)):
        raise Conflict("An unfinished deployment uses this artifact: abort it first.")
    artifacts.remove(link, artifact_id)


def shown(artifact: Artifact) -> dict[str, Any]:
    facts = artifact.facts
    files = [{"name": file.name, "size": file.size, "checksum": file.checksum} for file in facts.files]
    return {
        "id": artifact.id,
        "name": facts.name,
        "description": artifact.description,
        "device_types_compatible": list(facts.device_types),
        "signed": facts.signature is not None,
        "verified_by": facts.signature.key if facts.signature else None,
        "updates": [{"type_info": {"type": facts.payload_type}, "files": files}],
        "artifact_provides": dict(facts.provides),
        "artifact_depends": {key: list(values) for key, values in facts.depends.items()},
        "clears_artifact_provides": list(facts.clears or ()),
        "size": artifact.size,
        "modified": artifact.modified,
    }
