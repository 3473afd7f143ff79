# SPDX-License-Identifier: Apache-2.0
"""Deployments for the operator: create, watch, pause, abort, and read what a failed device had to say."""

import json
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from sqlalchemy import Connection

from server_stub.api import deployment_shown as shown
from server_stub.api.deployment_models import (
    ActionIn,
    DeploymentOut,
    DevicePartOut,
    IdsIn,
    OrderIn,
    PartOut,
    StatisticsOf,
)
from server_stub.api.kit import (
    CREATED,
    Deployer,
    Name,
    PageDep,
    ServicesDep,
    Text,
    Viewer,
    created,
    refusals,
    router,
    tell_page,
)
from server_stub.api.statuses import FilterWord, statuses_of
from server_stub.clock import now, stamp
from server_stub.domain import deployments as rules
from server_stub.domain import logs
from server_stub.domain.deployments import Target
from server_stub.errors import Malformed, NotFound
from server_stub.jobs import orders
from server_stub.services import Services
from server_stub.storage import deployments, entries, groups
from server_stub.storage.deployments import Wanted

ROOT = "/api/management/v1/deployments/deployments"
V2 = "/api/management/v2/deployments/deployments"
routes = router("", "deployments", 401, 403)
_MAKES: Any = {
    "status_code": 201,
    "response_class": Response,
    "responses": {**CREATED, **refusals(409, 422)},
}


@routes.post(ROOT, **_MAKES)
@routes.post(V2, **_MAKES)
async def create(services: ServicesDep, _: Deployer, asked: OrderIn) -> Response:
    """Begin a deployment to devices, a group, all, or those that fit a filter."""
    return await _create(services, asked)


@routes.post(f"{ROOT}/group/{{name}}", **_MAKES)
async def create_for_group(services: ServicesDep, _: Deployer, name: Name, asked: OrderIn) -> Response:
    """Begin a deployment to the devices that are in a group now."""
    if asked.group is not None and asked.group != name:
        raise Malformed("The body names another group than the path.")
    return await _create(services, asked.model_copy(update={"group": name}))


async def _create(services: Services, asked: OrderIn) -> Response:
    kind, moment = asked.target_kind(), now()

    def job(link: Connection) -> str:
        target = Target(kind, asked.group, _terms(link, asked), asked.max_devices)
        return orders.create(link, asked.order(target), moment)

    return created(f"{ROOT}/{await services.write(job)}")


def _terms(link: Connection, asked: OrderIn) -> tuple[Any, ...]:
    if asked.filter_id is not None:
        named = groups.filter_by_id(link, asked.filter_id)
        if named is None:
            raise Malformed("There is no filter with this id.")
        return named.terms
    return tuple(one.term() for one in asked.filter.terms) if asked.filter else ()


@routes.get(ROOT, response_model=list[DeploymentOut])
@routes.get(V2, response_model=list[DeploymentOut])
async def list_all(
    request: Request,
    response: Response,
    services: ServicesDep,
    _: Viewer,
    page: PageDep,
    status: Annotated[Literal["pending", "inprogress", "finished"] | None, Query()] = None,
    search: Annotated[Text | None, Query(max_length=1024, description="a part of the name")] = None,
    artifact_name: Annotated[Text | None, Query()] = None,
    created_after: Annotated[float | None, Query(ge=0, le=32_503_680_000, description="seconds since 1970")] = None,
    created_before: Annotated[float | None, Query(ge=0, le=32_503_680_000, description="seconds since 1970")] = None,
    sort: Annotated[Literal["asc", "desc"], Query(description="by creation")] = "desc",
) -> Any:
    """The deployments."""
    after, before = (shown.moment(one) for one in (created_after, created_before))
    wanted = Wanted(search, artifact_name, status, after, before, sort == "asc")

    def look(link: Connection) -> tuple[list[dict[str, Any]], int]:
        found, total = deployments.listed(link, wanted, page)
        return shown.deployments_shown(link, found), total

    found, total = await services.read(look)
    tell_page(request, response, page, total)
    return found


@routes.post(f"{ROOT}/statistics/list", response_model=list[StatisticsOf])
async def statistics_of_many(services: ServicesDep, _: Viewer, asked: IdsIn) -> Any:
    def look(link: Connection) -> list[dict[str, Any]]:
        known = deployments.by_ids(link, asked.deployment_ids)
        counts = entries.counts(link, list(known))
        return [{"deployment_id": one, "stats": rules.statistics(counts[one])} for one in known]

    return await services.read(look)


@routes.get(f"{ROOT}/devices/{{device_id}}", response_model=list[DevicePartOut])
async def of_device(
    request: Request,
    response: Response,
    services: ServicesDep,
    _: Viewer,
    page: PageDep,
    device_id: Text,
    status: Annotated[FilterWord | None, Query()] = None,
) -> Any:
    """The deployments of one device, the newest first."""

    def look(link: Connection) -> tuple[list[dict[str, Any]], int]:
        found, total = entries.of_device(link, device_id, statuses_of(status), page)
        return shown.parts_of_device(link, found), total

    found, total = await services.read(look)
    tell_page(request, response, page, total)
    return found


@routes.delete(f"{ROOT}/devices/{{device_id}}", status_code=204)
async def abort_for_device(services: ServicesDep, _: Deployer, device_id: Text) -> None:
    """Abort what is not finished for one device."""
    await services.write(partial(orders.abort_for, device=device_id, now=stamp(now())))


@routes.delete(f"{ROOT}/devices/{{device_id}}/history", status_code=204)
async def clear_history(services: ServicesDep, _: Deployer, device_id: Text) -> None:
    """Forget what is finished for one device, when it gets its next deployment; the deployments keep it."""
    await services.write(partial(entries.clear, device=device_id))


@routes.get(f"{ROOT}/{{deployment_id}}", response_model=DeploymentOut, responses=refusals(404))
async def get_one(services: ServicesDep, _: Viewer, deployment_id: Text) -> Any:
    return await services.read(lambda link: shown.deployments_shown(link, [orders.existing(link, deployment_id)])[0])


@routes.put(f"{ROOT}/{{deployment_id}}/status", status_code=204, responses=refusals(404, 422))
async def act(services: ServicesDep, _: Deployer, deployment_id: Text, asked: ActionIn) -> None:
    """Abort a deployment, pause it, or let it go on."""
    moment = now()
    match asked.status:
        case "aborted":
            await services.write(partial(orders.abort, deployment=deployment_id, now=stamp(moment)))
        case "paused":
            await services.write(partial(orders.pause, deployment=deployment_id))
        case "inprogress":
            await services.write(partial(orders.go_on, deployment=deployment_id, now=moment))


@routes.get(f"{ROOT}/{{deployment_id}}/statistics", response_model=dict[str, int], responses=refusals(404))
async def statistics(services: ServicesDep, _: Viewer, deployment_id: Text) -> Any:
    """How many devices are in which status."""

    def look(link: Connection) -> dict[str, int]:
        orders.existing(link, deployment_id)
        return rules.statistics(entries.counts(link, [deployment_id])[deployment_id])

    return await services.read(look)


@routes.get(f"{ROOT}/{{deployment_id}}/devices", response_model=list[PartOut], responses=refusals(404))
@routes.get(f"{ROOT}/{{deployment_id}}/devices/list", response_model=list[PartOut], responses=refusals(404))
async def list_devices(
    request: Request,
    response: Response,
    services: ServicesDep,
    _: Viewer,
    page: PageDep,
    deployment_id: Text,
    status: Annotated[FilterWord | None, Query()] = None,
) -> Any:
    """The devices of a deployment."""

    def look(link: Connection) -> tuple[list[dict[str, Any]], int]:
        orders.existing(link, deployment_id)
        found, total = entries.listed(link, deployment_id, statuses_of(status), page)
        return shown.parts_shown(link, found), total

    found, total = await services.read(look)
    tell_page(request, response, page, total)
    return found


@routes.get(f"{ROOT}/{{deployment_id}}/device_list", response_model=list[str], responses=refusals(404))
async def list_ids(services: ServicesDep, _: Viewer, deployment_id: Text) -> Any:
    """The ids of all devices of a deployment."""

    def look(link: Connection) -> list[str]:
        orders.existing(link, deployment_id)
        return sorted(entries.devices_of(link, deployment_id))

    return await services.read(look)


@routes.get(
    f"{ROOT}/{{deployment_id}}/devices/{{device_id}}/log",
    response_class=Response,
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}, **refusals(404)},
)
async def get_log(services: ServicesDep, _: Viewer, deployment_id: Text, device_id: Text) -> Response:
    """What a device had to say about its failure."""
    kept = await services.read(partial(entries.log_of, deployment=deployment_id, device=device_id))
    if kept is None:
        raise NotFound("This device has sent no log for this deployment.")
    text = logs.render([logs.Line(**line) for line in json.loads(kept)])
    return Response(text, media_type="text/plain; charset=utf-8")
