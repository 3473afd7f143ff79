# SPDX-License-Identifier: Apache-2.0
"""Releases for the operator: a name, the artifacts that carry it, and what was noted about it."""

from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any

from fastapi import Body, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from server_stub.api.artifacts import ArtifactOut
from server_stub.api.artifacts import remove as remove_artifact
from server_stub.api.artifacts import shown as artifact_shown
from server_stub.api.kit import Deployer, Model, Name, PageDep, ServicesDep, Text, Viewer, refusals, router, tell_page
from server_stub.errors import NotFound
from server_stub.storage import artifacts, releases
from server_stub.storage.releases import Note

V1, V2 = "/api/management/v1/deployments/deployments/releases", "/api/management/v2/deployments/deployments/releases"
routes = router("", "releases", 401, 403)


class ReleaseV1(Model):
    """As the first protocol writes it."""

    name: str = Field(serialization_alias="Name")
    artifacts: list[ArtifactOut] = Field(serialization_alias="Artifacts")


class ReleaseOut(Model):
    name: str
    artifacts: list[ArtifactOut]
    artifacts_count: int
    notes: str
    tags: list[str]
    modified: str


class NotesIn(Model):
    notes: Annotated[Text, Field(max_length=65_536)]


@routes.get(V1, response_model=list[ReleaseV1], response_model_by_alias=True)
@routes.get(f"{V1}/list", response_model=list[ReleaseV1], response_model_by_alias=True)
@routes.get(V2, response_model=list[ReleaseOut])
async def list_all(
    request: Request,
    response: Response,
    services: ServicesDep,
    _: Viewer,
    page: PageDep,
    name: Annotated[Text | None, Query(max_length=1024, description="its beginning")] = None,
) -> Any:
    """The releases; each route writes of them what its protocol knows."""
    found, total = await services.read(partial(_looked, prefix=name, page=page))
    tell_page(request, response, page, total)
    return found


@routes.get("/api/management/v2/deployments/releases/all/tags", response_model=list[str])
async def all_tags(services: ServicesDep, _: Viewer) -> Any:
    return await services.read(releases.all_tags)


@routes.get("/api/management/v2/deployments/releases/all/types", response_model=list[str])
async def all_types(services: ServicesDep, _: Viewer) -> Any:
    """The payload types of all artifacts."""
    return await services.read(artifacts.update_types)


@routes.get(f"{V2}/{{name}}", response_model=ReleaseOut, responses=refusals(404))
async def get_one(services: ServicesDep, _: Viewer, name: Text) -> Any:
    return (await services.read(partial(_existing, names=[name])))[0]


@routes.patch(f"{V2}/{{name}}", status_code=204, responses=refusals(404))
async def note(services: ServicesDep, _: Deployer, name: Text, asked: NotesIn) -> None:
    """Note something about a release."""

    def job(link: Connection) -> None:
        _existing(link, [name])
        releases.save(link, name, Note(asked.notes, releases.notes_of(link, [name])[name].tags))

    await services.write(job)


@routes.put(f"{V2}/{{name}}/tags", status_code=204, responses=refusals(404))
async def put_tags(
    services: ServicesDep, _: Deployer, name: Text, tags: Annotated[list[Name], Body(max_length=100)]
) -> None:
    def job(link: Connection) -> None:
        _existing(link, [name])
        releases.save(link, name, Note(releases.notes_of(link, [name])[name].notes, tuple(sorted(set(tags)))))

    await services.write(job)


@routes.delete(V2, status_code=204, responses=refusals(404, 409))
async def delete(
    services: ServicesDep, _: Deployer, name: Annotated[list[Text], Query(min_length=1, max_length=100)]
) -> None:
    """Delete releases with all their artifacts, if none of them is in use."""

    def job(link: Connection) -> list[str]:
        ids = [one["id"] for release in _existing(link, name) for one in release["artifacts"]]
        for artifact_id in ids:
            remove_artifact(link, artifact_id)
        releases.remove(link, name)
        return ids

    for artifact_id in await services.write(job):
        await run_in_threadpool(services.store.remove, artifact_id)


def _looked(link: Connection, prefix: str | None, page: Any) -> tuple[list[dict[str, Any]], int]:
    names, total = artifacts.names_listed(link, prefix, page)
    return _shown(link, names), total


def _existing(link: Connection, names: Sequence[str]) -> list[dict[str, Any]]:
    found = _shown(link, names)
    if not all(release["artifacts"] for release in found):
        raise NotFound("There is no such release.")
    return found


def _shown(link: Connection, names: Sequence[str]) -> list[dict[str, Any]]:
    kept, notes = artifacts.by_names(link, names), releases.notes_of(link, names)
    return [
        {
            "name": name,
            "artifacts": [artifact_shown(one) for one in kept[name]],
            "artifacts_count": len(kept[name]),
            "notes": notes[name].notes,
            "tags": list(notes[name].tags),
            "modified": max((one.modified for one in kept[name]), default=""),
        }
        for name in names
    ]
