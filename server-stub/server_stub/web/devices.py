# SPDX-License-Identifier: Apache-2.0
"""Devices for people: the list, with its search, and one device with its keys, what it says, and its history."""

import hashlib
import json
from functools import partial
from typing import Annotated, Any

from fastapi import Query, Request, Response
from sqlalchemy import Connection

from server_stub.api import deployment_shown
from server_stub.api.devices import existing, last_seen
from server_stub.api.devices import shown as devices_shown
from server_stub.api.kit import PageDep, ServicesDep, Text
from server_stub.domain.devices import Device
from server_stub.domain.filters import Operator, Term
from server_stub.domain.inventory import Attribute, Scope
from server_stub.services import Services
from server_stub.storage import attributes, devices, entries, groups
from server_stub.storage.page import Page
from server_stub.web.fleet import STATUSES
from server_stub.web.render import Visitor, page, paging, router

routes = router()
Word = Annotated[Text, Query(max_length=256)]


@routes.get("/ui/devices")
async def list_all(
    request: Request,
    services: ServicesDep,
    _: Visitor,
    part: PageDep,
    q: Word = "",
    status: Word = "",
    group: Word = "",
    artifact: Word = "",
) -> Response:
    wanted = [
        (Scope.SYSTEM, "status", status),
        (Scope.SYSTEM, "group", group),
        (Scope.INVENTORY, "artifact_name", artifact),
    ]
    terms = [Term(scope, name, Operator.EQ, value) for scope, name, value in wanted if value]

    def look(link: Connection) -> dict[str, Any]:
        found, total = devices.found(link, terms, (), part, q.strip())
        return {
            "devices": _rows(link, services, found),
            "paging": paging(request, part, total),
            "in_part": devices.found_in_part(link, q.strip()),
            "groups": [name for name, _number in groups.listed(link)],
        }

    asked = {"q": q, "status": status, "group": group, "artifact": artifact}
    return page(request, "devices.html", asked=asked, statuses=STATUSES, **await services.read(look))


def _rows(link: Connection, services: Services, found: list[Device]) -> list[dict[str, Any]]:
    told = attributes.of_devices(link, [one.id for one in found])
    return [
        {
            "id": one.id,
            "identity": one.identity,
            "status": one.status,
            "group": one.group,
            "seen": last_seen(services, one),
            "artifact": _said(told[one.id], "artifact_name"),
            "type": _said(told[one.id], "device_type"),
        }
        for one in found
    ]


def _said(told: list[Attribute], name: str) -> Any:
    return next((one.value for one in told if one.scope is Scope.INVENTORY and one.name == name), None)


@routes.get("/ui/devices/{device_id}")
async def get_one(request: Request, services: ServicesDep, _: Visitor, part: PageDep, device_id: Text) -> Response:
    look = partial(_look, services=services, device_id=device_id, part=part)
    shown, total = await services.read(look)
    return page(request, "device.html", paging=paging(request, part, total), **shown)


def _look(link: Connection, services: Services, device_id: str, part: Page) -> tuple[dict[str, Any], int]:
    device = existing(link, device_id)
    shown = devices_shown(link, services, [device])[0]
    told = attributes.of_devices(link, [device.id])[device.id]
    found, total = entries.of_device(link, device.id, (), part)
    return {
        "device": shown,
        "identity": json.loads(device.identity),
        "keys": [
            {**one, "fingerprint": hashlib.sha256(one["pubkey"].encode()).hexdigest()} for one in shown["auth_sets"]
        ],
        "group": device.group,
        "groups": [name for name, _number in groups.listed(link)],
        "inventory": [one for one in told if one.scope is Scope.INVENTORY],
        "inventory_ts": device.inventory_ts,
        "tags": [one for one in told if one.scope is Scope.TAGS],
        "entries": deployment_shown.parts_of_device(link, found),
    }, total
