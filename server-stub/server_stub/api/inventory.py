# SPDX-License-Identifier: Apache-2.0
"""The inventory for the operator: what devices say of themselves, tags, and the search by all of it."""

import uuid
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Body, Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection

from server_stub.api.device_models import AttributeIn
from server_stub.api.devices import existing, last_seen
from server_stub.api.kit import (
    CREATED,
    MOST_NAMED,
    Admin,
    Deployer,
    Model,
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
from server_stub.clock import now, stamp
from server_stub.domain import filters, inventory
from server_stub.domain.devices import Device
from server_stub.domain.filters import MOST_TERMS, MOST_VALUES, Order, Term
from server_stub.domain.inventory import Scope
from server_stub.errors import NotFound
from server_stub.jobs import access
from server_stub.services import Services
from server_stub.storage import attributes, devices, groups
from server_stub.storage.groups import NamedFilter
from server_stub.storage.page import Page

V1 = "/api/management/v1/inventory"
V2 = "/api/management/v2/inventory"
routes = router("", "inventory", 401, 403)
Number = Annotated[float, Field(strict=True, ge=-(2**53), le=2**53)]
ScopeName = Literal["identity", "inventory", "system", "tags"]


class AttributeOut(Model):
    name: str
    value: str | int | float | list[str]
    scope: str


class InventoryOut(Model):
    id: str
    attributes: list[AttributeOut]
    updated_ts: str | None


class TermIn(Model):
    """One attribute compared with one value; see the operators of Mender's filters."""

    scope: ScopeName
    attribute: Name
    type: Literal["$eq", "$ne", "$in", "$nin", "$gt", "$gte", "$lt", "$lte", "$exists", "$regex"]
    value: bool | Text | Number | Annotated[list[Text | Number], Field(max_length=MOST_VALUES)]

    def term(self) -> Term:
        return filters.read_term(self.model_dump())


Terms = Annotated[list[TermIn], Field(max_length=MOST_TERMS)]


class SortIn(Model):
    scope: ScopeName = "inventory"
    attribute: Name
    order: Literal["asc", "desc"] = "asc"


class SearchIn(Model):
    filters: Terms = Field(default=[])
    sort: list[SortIn] = Field(default=[], max_length=5)
    page: int = Field(default=1, ge=1, le=1_000_000)
    per_page: int = Field(default=20, ge=1, le=500)
    device_ids: Annotated[list[Text], Field(max_length=MOST_NAMED)] | None = None


class FilterIn(Model):
    name: Name
    terms: Terms = Field(min_length=1)


class FilterOut(Model):
    id: str
    name: str
    terms: list[dict[str, Any]]


class NameOut(Model):
    scope: str
    name: str
    count: int = Field(description="how many devices have it")


class Statistics(Model):
    by_status: dict[str, int]
    by_artifact_name: dict[str, int] = Field(description="accepted devices by what they run; the most frequent 50")


@routes.get(f"{V1}/devices", response_model=list[InventoryOut])
async def list_all(
    request: Request,
    response: Response,
    services: ServicesDep,
    _: Viewer,
    page: PageDep,
    group: Annotated[Text | None, Query()] = None,
    has_group: Annotated[bool | None, Query()] = None,
) -> Any:
    """What the devices say of themselves."""
    terms = []
    if group is not None:
        terms.append(Term(Scope.SYSTEM, "group", filters.Operator.EQ, group))
    if has_group is not None:
        terms.append(Term(Scope.SYSTEM, "group", filters.Operator.EXISTS, has_group))
    return await _searched(request, response, services, terms, (), page)


@routes.get(f"{V1}/devices/{{device_id}}", response_model=InventoryOut, responses=refusals(404))
async def get_one(services: ServicesDep, _: Viewer, device_id: Text) -> Any:
    return await services.read(lambda link: shown(link, services, [existing(link, device_id)])[0])


@routes.delete(f"{V1}/devices/{{device_id}}", status_code=204, responses=refusals(404))
async def remove(services: ServicesDep, _: Admin, device_id: Text) -> None:
    """Decommission the device."""
    await services.write(partial(access.decommission, device=device_id, now=stamp(now())))


@routes.put(f"{V1}/devices/{{device_id}}/tags", responses=refusals(404))
async def put_tags(
    services: ServicesDep, _: Deployer, device_id: Text, tags: Annotated[list[AttributeIn], Body()]
) -> None:
    """All tags of a device."""
    await _keep_tags(services, device_id, tags, replace=True)


@routes.patch(f"{V1}/devices/{{device_id}}/tags", responses=refusals(404))
async def patch_tags(
    services: ServicesDep, _: Deployer, device_id: Text, tags: Annotated[list[AttributeIn], Body()]
) -> None:
    """Some tags of a device; the others stay."""
    await _keep_tags(services, device_id, tags, replace=False)


async def _keep_tags(services: Services, device_id: str, tags: list[AttributeIn], *, replace: bool) -> None:
    values = inventory.checked([(one.name, one.value) for one in tags], Scope.TAGS)

    def job(link: Connection) -> None:
        existing(link, device_id)
        attributes.save(link, device_id, values, Scope.TAGS, replace=replace)
        if not replace:
            inventory.check_room(*attributes.numbers(link, device_id, Scope.TAGS))
        groups.touch_members(link)

    await services.write(job)


@routes.get(f"{V2}/filters/attributes", response_model=list[NameOut])
async def names(services: ServicesDep, _: Viewer) -> Any:
    """By which attributes devices can be found."""
    found = await services.read(attributes.names)
    return [{"scope": scope, "name": name, "count": number} for scope, name, number in found]


@routes.post(f"{V2}/filters/search", response_model=list[InventoryOut])
async def search(request: Request, response: Response, services: ServicesDep, _: Viewer, asked: SearchIn) -> Any:
    """The devices that fit all terms."""
    terms = [one.term() for one in asked.filters]
    if asked.device_ids is not None:
        terms.append(Term(Scope.SYSTEM, "id", filters.Operator.IN, list(asked.device_ids)))
    orders = [Order(Scope(one.scope), one.attribute, one.order == "desc") for one in asked.sort]
    return await _searched(request, response, services, terms, orders, Page(asked.page, asked.per_page))


@routes.get(f"{V2}/filters", response_model=list[FilterOut])
async def list_filters(request: Request, response: Response, services: ServicesDep, _: Viewer, page: PageDep) -> Any:
    """The named filters: groups whose members are those that fit."""
    found, total = await services.read(partial(groups.filters_listed, page=page))
    tell_page(request, response, page, total)
    return [_filter_shown(one) for one in found]


@routes.post(f"{V2}/filters", status_code=201, response_class=Response, responses={**CREATED, **refusals(409)})
async def add_filter(services: ServicesDep, _: Deployer, asked: FilterIn) -> Response:
    made = NamedFilter(str(uuid.uuid4()), asked.name, tuple(one.term() for one in asked.terms))
    await services.write(partial(groups.add_filter, one=made))
    return created(f"{V2}/filters/{made.id}")


@routes.get(f"{V2}/filters/{{filter_id}}", response_model=FilterOut, responses=refusals(404))
async def get_filter(services: ServicesDep, _: Viewer, filter_id: Text) -> Any:
    return _filter_shown(await services.read(partial(_existing_filter, wanted=filter_id)))


@routes.delete(f"{V2}/filters/{{filter_id}}", status_code=204, responses=refusals(404))
async def remove_filter(services: ServicesDep, _: Deployer, filter_id: Text) -> None:
    """Forget a named filter; deployments to it keep its terms."""
    if not await services.write(partial(groups.remove_filter, wanted=filter_id)):
        raise NotFound("There is no such filter.")


@routes.get(f"{V2}/filters/{{filter_id}}/search", response_model=list[InventoryOut], responses=refusals(404))
async def search_by_name(
    request: Request, response: Response, services: ServicesDep, _: Viewer, page: PageDep, filter_id: Text
) -> Any:
    """The devices that fit a named filter now."""
    wanted = await services.read(partial(_existing_filter, wanted=filter_id))
    return await _searched(request, response, services, wanted.terms, (), page)


@routes.get(f"{V2}/statistics", response_model=Statistics)
async def statistics(services: ServicesDep, _: Viewer) -> Any:
    """How many devices are in which state, and run what."""

    def look(link: Connection) -> dict[str, Any]:
        running = attributes.numbers_of_values(link, Scope.INVENTORY, "artifact_name", 50)
        return {"by_status": devices.counts(link), "by_artifact_name": dict(running)}

    return await services.read(look)


async def _searched(
    request: Request,
    response: Response,
    services: Services,
    terms: Sequence[Term],
    orders: Sequence[Order],
    page: Page,
) -> list[dict[str, Any]]:
    def look(link: Connection) -> tuple[list[dict[str, Any]], int]:
        found, total = devices.found(link, terms, orders, page)
        return shown(link, services, found), total

    found, total = await services.read(look)
    tell_page(request, response, page, total)
    return found


def shown(link: Connection, services: Services, found: Sequence[Device]) -> list[dict[str, Any]]:
    told = attributes.of_devices(link, [device.id for device in found])
    return [
        {
            "id": device.id,
            "attributes": [
                *({"name": one.name, "value": one.value, "scope": one.scope} for one in told[device.id]),
                *_properties(services, device),
            ],
            "updated_ts": device.inventory_ts,
        }
        for device in found
    ]


def _properties(services: Services, device: Device) -> list[dict[str, Any]]:
    """What the server knows of a device, as attributes; the names are those of storage.search."""
    known = [
        ("identity", "status", device.status),
        ("system", "group", device.group),
        ("system", "created_ts", device.created_ts),
        ("system", "updated_ts", device.inventory_ts),
        ("system", "check_in_time", last_seen(services, device)),
    ]
    return [{"name": name, "value": value, "scope": scope} for scope, name, value in known if value is not None]


def _existing_filter(link: Connection, wanted: str) -> NamedFilter:
    found = groups.filter_by_id(link, wanted)
    if found is None:
        raise NotFound("There is no such filter.")
    return found


def _filter_shown(one: NamedFilter) -> dict[str, Any]:
    return {"id": one.id, "name": one.name, "terms": [term.written() for term in one.terms]}
