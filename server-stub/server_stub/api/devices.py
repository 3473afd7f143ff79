# SPDX-License-Identifier: Apache-2.0
"""Devices for the operator: who there is, who is accepted, and their end."""

import json
from collections.abc import Sequence
from functools import partial
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from pydantic import Field
from sqlalchemy import Connection

from server_stub.api.kit import (
    CREATED,
    MOST_NAMED,
    Admin,
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
from server_stub.clock import now, stamp
from server_stub.domain import keys
from server_stub.domain.devices import AuthSet, AuthStatus, Device, read_identity
from server_stub.errors import NotFound
from server_stub.jobs import access
from server_stub.services import Services
from server_stub.storage import devices, users

PREFIX = "/api/management/v2/devauth"
routes = router(PREFIX, "devices", 401, 403)


class AuthSetOut(Model):
    id: str
    pubkey: str
    status: AuthStatus
    identity_data: dict[str, Any]
    ts: str


class DeviceOut(Model):
    id: str
    identity_data: dict[str, Any]
    status: str = Field(description="accepted, preauthorized, pending, rejected or noauth")
    auth_sets: list[AuthSetOut]
    created_ts: str
    updated_ts: str
    check_in_time: str | None = Field(description="when it last asked for a deployment")
    decommissioning: bool = False


class PreauthorizeIn(Model):
    identity_data: dict[Text, Any] = Field(min_length=1)
    pubkey: Text
    force: bool = Field(default=False, description="also a further key of a device that is known")


class StatusIn(Model):
    status: Literal["accepted", "rejected"]


class StatusOut(Model):
    status: AuthStatus


class SearchIn(Model):
    id: Annotated[list[Text], Field(max_length=MOST_NAMED)] | None = None
    status: Annotated[list[Text], Field(max_length=MOST_NAMED)] | Text | None = None


class AcceptIn(Model):
    devices: Annotated[list[Text], Field(max_length=MOST_NAMED)] | None = Field(
        default=None, description="these, if they wait; all that wait if none is named"
    )


class AcceptOut(Model):
    accepted: list[str] = Field(description="at most 200; ask again until it is empty")


class Count(Model):
    count: int


class Limit(Model):
    limit: int = Field(description="0 means none")


StatusQuery = Annotated[Literal["accepted", "preauthorized", "pending", "rejected", "noauth"] | None, Query()]


@routes.get("/devices", response_model=list[DeviceOut])
async def list_all(
    request: Request,
    response: Response,
    services: ServicesDep,
    _: Viewer,
    page: PageDep,
    status: StatusQuery = None,
) -> Any:
    """The devices, the oldest first."""

    def look(link: Connection) -> tuple[list[dict[str, Any]], int]:
        found, total = devices.listed(link, page, status=status)
        return shown(link, services, found), total

    found, total = await services.read(look)
    tell_page(request, response, page, total)
    return found


@routes.post("/devices", status_code=201, response_class=Response, responses={**CREATED, **refusals(409)})
async def preauthorize(services: ServicesDep, _: Admin, asked: PreauthorizeIn) -> Response:
    """Let a device in before it has shown itself."""
    identity = read_identity(asked.identity_data)
    pubkey = keys.canonical_pem(keys.parse_public_key(asked.pubkey))
    ts = stamp(now())
    made = await services.write(lambda link: access.preauthorize(link, identity, pubkey, ts, force=asked.force))
    return created(f"{PREFIX}/devices/{made.id}")


@routes.get("/devices/count", response_model=Count)
async def count(services: ServicesDep, _: Viewer, status: StatusQuery = None) -> Any:
    return {"count": await services.read(lambda link: devices.count(link, status))}


@routes.post("/devices/search", response_model=list[DeviceOut])
async def search(
    request: Request, response: Response, services: ServicesDep, _: Viewer, page: PageDep, asked: SearchIn
) -> Any:
    """Devices by their ids or statuses."""
    statuses = [asked.status] if isinstance(asked.status, str) else asked.status

    def look(link: Connection) -> tuple[list[dict[str, Any]], int]:
        found, total = devices.among(link, asked.id, statuses, page)
        return shown(link, services, found), total

    found, total = await services.read(look)
    tell_page(request, response, page, total)
    return found


@routes.post("/devices/accept", response_model=AcceptOut, responses=refusals(422))
async def accept(services: ServicesDep, _: Admin, asked: AcceptIn) -> Any:
    """Accept the newest key of many devices at once."""
    most, ts = services.policy.limits.devices, stamp(now())
    done = await services.write(lambda link: access.accept_pending(link, asked.devices, ts, most))
    return {"accepted": done}


@routes.get("/devices/{device_id}", response_model=DeviceOut, responses=refusals(404))
async def get_one(services: ServicesDep, _: Viewer, device_id: Text) -> Any:
    return await services.read(lambda link: shown(link, services, [existing(link, device_id)])[0])


@routes.delete("/devices/{device_id}", status_code=204, responses=refusals(404))
async def decommission(services: ServicesDep, _: Admin, device_id: Text) -> None:
    """Forget a device: its token counts no more, its deployments end."""
    await services.write(partial(access.decommission, device=device_id, now=stamp(now())))


@routes.delete("/devices/{device_id}/auth/{auth_set_id}", status_code=204, responses=refusals(404))
async def dismiss(services: ServicesDep, _: Admin, device_id: Text, auth_set_id: Text) -> None:
    """Forget one key of a device, and the device with its last."""
    await services.write(partial(access.dismiss, device=device_id, auth_set=auth_set_id, now=stamp(now())))


@routes.get("/devices/{device_id}/auth/{auth_set_id}/status", response_model=StatusOut, responses=refusals(404))
async def get_auth_status(services: ServicesDep, _: Viewer, device_id: Text, auth_set_id: Text) -> Any:
    sets = await services.read(partial(devices.auth_sets_of, wanted=[device_id]))
    return {"status": access.among(sets, auth_set_id).status}


@routes.put("/devices/{device_id}/auth/{auth_set_id}/status", status_code=204, responses=refusals(404, 422))
async def put_auth_status(services: ServicesDep, _: Admin, device_id: Text, auth_set_id: Text, asked: StatusIn) -> None:
    """Accept or reject a key; the one that was accepted before is then rejected."""
    status, most, ts = AuthStatus(asked.status), services.policy.limits.devices, stamp(now())
    await services.write(lambda link: access.decide_about(link, device_id, auth_set_id, status, ts, most))


@routes.delete("/tokens/{token_id}", status_code=204, responses=refusals(404))
async def revoke(services: ServicesDep, _: Admin, token_id: Text) -> None:
    """Let a token count no more: a user's for good, a device's (by its auth set) until the key is accepted again."""

    def job(link: Connection) -> None:
        auth_set = devices.auth_set_by_id(link, token_id)
        if auth_set is not None:
            access.decide_about(link, auth_set.device_id, token_id, AuthStatus.REJECTED, stamp(now()), 0)
        elif not users.remove_any_token(link, token_id):
            raise NotFound("There is no such token.")

    await services.write(job)


@routes.get("/limits/max_devices", response_model=Limit)
async def limit(services: ServicesDep, _: Viewer) -> Any:
    return {"limit": services.policy.limits.devices}


def existing(link: Connection, device_id: str) -> Device:
    device = devices.by_id(link, device_id)
    if device is None:
        raise NotFound("There is no such device.")
    return device


def shown(link: Connection, services: Services, found: Sequence[Device]) -> list[dict[str, Any]]:
    sets: dict[str, list[AuthSet]] = {device.id: [] for device in found}
    for one in devices.auth_sets_of(link, list(sets)):
        sets[one.device_id].append(one)
    return [
        {
            "id": device.id,
            "identity_data": json.loads(device.identity),
            "status": device.status,
            "auth_sets": [
                {
                    "id": one.id,
                    "pubkey": one.pubkey,
                    "status": one.status,
                    "identity_data": json.loads(device.identity),
                    "ts": one.ts,
                }
                for one in sets[device.id]
            ],
            "created_ts": device.created_ts,
            "updated_ts": device.updated_ts,
            "check_in_time": last_seen(services, device),
        }
        for device in found
    ]


def last_seen(services: Services, device: Device) -> str | None:
    """When a device last asked: what is written down, or what is not yet."""
    lately = services.recent.checked_in(device.id)
    return stamp(lately) if lately else device.check_in_ts
