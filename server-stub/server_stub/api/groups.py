# SPDX-License-Identifier: Apache-2.0
"""Groups for the operator: a device is in one or none, and a group is there as long as a device is in it."""

from functools import partial
from typing import Annotated, Any

from fastapi import Body, Query, Request, Response
from pydantic import Field, StringConstraints
from sqlalchemy import Connection

from server_stub.api.devices import existing
from server_stub.api.inventory import V1
from server_stub.api.kit import Deployer, Model, PageDep, ServicesDep, Text, Viewer, refusals, router, tell_page
from server_stub.errors import NotFound
from server_stub.storage import groups

routes = router(V1, "groups", 401, 403)
GroupName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9_-][A-Za-z0-9_.-]*$", max_length=256)]
Ids = Annotated[list[Text], Body(min_length=1, max_length=10_000)]


class GroupOf(Model):
    group: str | None


class GroupIn(Model):
    group: GroupName


class Changed(Model):
    matched_count: int = Field(description="devices that were named and are known")
    updated_count: int = Field(description="those of them that are in another group now, or in none")


@routes.get("/groups", response_model=list[str])
async def list_all(services: ServicesDep, _: Viewer, status: Annotated[Text | None, Query()] = None) -> Any:
    return [name for name, _number in await services.read(partial(groups.listed, status=status))]


@routes.get("/groups/{name}/devices", response_model=list[str], responses=refusals(404))
async def members(
    request: Request, response: Response, services: ServicesDep, _: Viewer, page: PageDep, name: Text
) -> Any:
    found, total = await services.read(partial(groups.members, group=name, page=page))
    if not total:
        raise NotFound("There is no device in such a group.")
    tell_page(request, response, page, total)
    return found


@routes.patch("/groups/{name}/devices", response_model=Changed)
async def put_in(services: ServicesDep, _: Deployer, name: GroupName, ids: Ids) -> Any:
    """Put devices into a group, out of whichever they were in."""
    return await services.write(lambda link: _assigned(link, ids, name, None))


@routes.delete("/groups/{name}/devices", response_model=Changed)
async def take_out(services: ServicesDep, _: Deployer, name: Text, ids: Ids) -> Any:
    """Take devices out of a group."""
    return await services.write(lambda link: _assigned(link, ids, None, name))


@routes.delete("/groups/{name}", response_model=Changed, responses=refusals(404))
async def dissolve(services: ServicesDep, _: Deployer, name: Text) -> Any:
    """Take all devices out of a group."""
    number = await services.write(partial(groups.dissolve, group=name))
    if not number:
        raise NotFound("There is no device in such a group.")
    return {"matched_count": number, "updated_count": number}


@routes.get("/devices/{device_id}/group", response_model=GroupOf, responses=refusals(404))
async def group_of(services: ServicesDep, _: Viewer, device_id: Text) -> Any:
    return {"group": (await services.read(lambda link: existing(link, device_id))).group}


@routes.put("/devices/{device_id}/group", status_code=204, responses=refusals(404))
async def put_group(services: ServicesDep, _: Deployer, device_id: Text, asked: GroupIn) -> None:
    def job(link: Connection) -> None:
        existing(link, device_id)
        groups.assign(link, [device_id], asked.group)

    await services.write(job)


@routes.delete("/devices/{device_id}/group/{name}", status_code=204, responses=refusals(404))
async def leave_group(services: ServicesDep, _: Deployer, device_id: Text, name: Text) -> None:
    def job(link: Connection) -> None:
        if existing(link, device_id).group != name:
            raise NotFound("The device is not in this group.")
        groups.assign(link, [device_id], None)

    await services.write(job)


def _assigned(link: Connection, ids: list[str], group: str | None, only: str | None) -> dict[str, int]:
    return {
        "matched_count": groups.known(link, ids),
        "updated_count": groups.assign(link, ids, group, only=only),
    }
