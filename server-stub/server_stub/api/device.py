# SPDX-License-Identifier: Apache-2.0
"""The device API: authentication, the next deployment, reports, logs, inventory.

An answer that acknowledges something is given only after its transaction is on the disk.
"""

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any

from fastapi import Body, Header, Query, Request, Response
from sqlalchemy import Connection

from server_stub.api.device_models import (
    Answer,
    AttributeIn,
    ControlMap,
    Introduction,
    LogIn,
    NextIn,
    Provides,
    ReportIn,
)
from server_stub.api.kit import Device, ServicesDep, Text, refusals, router
from server_stub.clock import now, stamp
from server_stub.domain import inventory, links, logs, tokens
from server_stub.domain.deployments import Asked
from server_stub.domain.devices import AuthStatus, read_introduction
from server_stub.domain.inventory import Attribute, Scope
from server_stub.errors import Conflict, NotFound, Unauthorized
from server_stub.front.quick import LOOKED, rest
from server_stub.jobs import access, polls
from server_stub.jobs.polls import Given
from server_stub.lab.journal import name_device
from server_stub.services import Services
from server_stub.storage import attributes, deployments, devices, entries

routes = router("/api/devices", "device", 401)
_DEPLOYMENTS = "/v1/deployments/device/deployments"
_NEXT: dict[int | str, dict[str, Any]] = {204: {"description": "Nothing."}, **refusals(409)}
_PLAIN = {"content": {"application/jwt": {"schema": {"type": "string"}}}, "description": "The token."}
# Clients send it, and it means nothing here.
_RAW_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": Introduction.model_json_schema()}},
    }
}


@routes.post(
    "/v1/authentication/auth_requests",
    response_class=Response,
    responses={200: _PLAIN},
    openapi_extra=_RAW_BODY,
)
async def authenticate(
    request: Request,
    services: ServicesDep,
    signature: Annotated[Text | None, Header(alias="X-MEN-Signature", description="base64, over the body")] = None,
) -> Response:
    """Introduce a device by its identity and key; a token, if the key is accepted."""
    asked = read_introduction(await request.body(), signature)
    moment = now()
    admission = await services.glance(partial(access.known, request=asked))
    if admission is None:
        admission = await services.write(
            partial(
                access.admit,
                request=asked,
                now=stamp(moment),
                limits=services.policy.limits,
                accept_new=services.policy.accept_all,
            )
        )
    name_device(request.scope, admission.device)
    if admission.status is not AuthStatus.ACCEPTED:
        raise Unauthorized(f"The device is not accepted: its key is {admission.status}.")
    token = tokens.for_device(services.secret, admission.device, admission.auth_set, moment)
    return Response(token, media_type="application/jwt")


@routes.post(
    "/v2/deployments/device/deployments/next", response_model=Answer, response_model_exclude_none=True, responses=_NEXT
)
async def next_v2(request: Request, services: ServicesDep, device: Device, asked: NextIn) -> Any:
    """What the device is to install next. Where nothing waits for it, that may be said without a look at the body."""
    return await _next(request, services, device, asked.device_provides, control=asked.update_control_map)


@routes.post(f"{_DEPLOYMENTS}/next", response_model=Answer, response_model_exclude_none=True, responses=_NEXT)
async def next_v1(request: Request, services: ServicesDep, device: Device, asked: Provides) -> Any:
    """The same for clients of the first protocol."""
    return await _next(request, services, device, asked)


@routes.get(f"{_DEPLOYMENTS}/next", response_model=Answer, response_model_exclude_none=True, responses=_NEXT)
async def next_v1_by_query(
    request: Request,
    services: ServicesDep,
    device: Device,
    device_type: Annotated[Text, Query(min_length=1)],
    artifact_name: Annotated[Text, Query(min_length=1)],
) -> Any:
    """The same for clients that can say no more of themselves than this."""
    asked = Provides(device_type=device_type, artifact_name=artifact_name)
    return await _next(request, services, device, asked)


async def _next(request: Request, services: Services, device: str, provides: Provides, *, control: bool = False) -> Any:
    moment = now()
    services.check_in(device, moment)
    if LOOKED not in request.scope and await rest(services, device, moment):
        return Response(status_code=204)
    asked = Asked(provides.device_type, provides.artifact_name)
    told = provides.texts()
    found = await services.write(partial(polls.poll, device=device, asked=asked, provides=told, now=moment))
    if isinstance(found, Given):
        return _instructions(request, services, found, device, control=control)
    if found.refusal:
        raise Conflict(found.refusal)
    return Response(status_code=204)


def _instructions(request: Request, services: Services, given: Given, device: str, *, control: bool) -> dict[str, Any]:
    expire = now() + links.LIFE
    token = links.sign(services.secret, given.artifact.id, device, expire)
    # The device knows the server by the name it has just used, which need not be the operator's name for it.
    uri = request.base_url.replace(path=f"/artifacts/download/{given.artifact.id}", query=f"token={token}")
    answer: dict[str, Any] = {
        "id": given.deployment.id,
        "artifact": {
            "id": given.artifact.id,
            "artifact_name": given.artifact.facts.name,
            "source": {"uri": str(uri), "expire": stamp(expire)},
            "device_types_compatible": list(given.artifact.facts.device_types),
        },
    }
    if control and given.deployment.control_map is not None:
        answer["update_control_map"] = given.deployment.control_map
    return answer


@routes.get(
    "/v2/deployments/device/deployments/{deployment_id}/update_control_map",
    response_model=ControlMap,
    responses=refusals(404),
)
async def control_map(services: ServicesDep, device: Device, deployment_id: Text) -> Any:
    """Where the device is to pause on its way, as it is now; not found if nowhere."""

    def look(connection: Connection) -> Mapping[str, Any] | None:
        if not entries.is_part(connection, deployment_id, device):
            return None
        order = deployments.by_id(connection, deployment_id)
        return order.control_map if order else None

    found = await services.read(look)
    if found is None:
        raise NotFound("There is no update control map for this deployment.")
    return {"id": deployment_id, "update_control_map": found}


@routes.put(f"{_DEPLOYMENTS}/{{deployment_id}}/status", status_code=204, responses=refusals(404, 409))
async def report_status(services: ServicesDep, device: Device, deployment_id: Text, told: ReportIn) -> None:
    """What has become of the deployment on the device."""
    ts = stamp(now())
    await services.write(lambda link: polls.report(link, deployment_id, device, told.status, told.substate, ts))
    services.recent.wake(device)


@routes.put(f"{_DEPLOYMENTS}/{{deployment_id}}/log", status_code=204, responses=refusals(404))
async def report_log(services: ServicesDep, device: Device, deployment_id: Text, told: LogIn) -> None:
    """What the device has to say about a failure."""
    lines = tuple(logs.line(one.timestamp, one.level, one.message) for one in told.messages)
    await services.write(lambda link: polls.keep_log(link, deployment_id, device, lines))


@routes.put("/v1/inventory/device/attributes")
async def put_inventory(services: ServicesDep, device: Device, told: Annotated[list[AttributeIn], Body()]) -> None:
    """All that the device says of itself."""
    await _keep_inventory(services, device, told, replace=True)


@routes.patch("/v1/inventory/device/attributes")
async def patch_inventory(services: ServicesDep, device: Device, told: Annotated[list[AttributeIn], Body()]) -> None:
    """Some of what the device says of itself; the rest stays."""
    await _keep_inventory(services, device, told, replace=False)


async def _keep_inventory(services: Services, device: str, told: list[AttributeIn], *, replace: bool) -> None:
    values = inventory.checked([(one.name, one.value) for one in told], Scope.INVENTORY)
    await services.write(partial(_save_inventory, device=device, values=values, replace=replace, now=stamp(now())))
    services.recent.wake(device)


def _save_inventory(connection: Connection, device: str, values: list[Attribute], now: str, *, replace: bool) -> None:
    if devices.by_id(connection, device) is None:
        raise Unauthorized("The device has been decommissioned: it must introduce itself again.")
    attributes.save(connection, device, values, Scope.INVENTORY, replace=replace)
    if not replace:
        # Beside what was there already; what is new has been checked as a whole.
        inventory.check_room(*attributes.numbers(connection, device, Scope.INVENTORY))
    devices.note_inventory(connection, device, now)
