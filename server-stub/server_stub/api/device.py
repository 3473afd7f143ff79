# SPDX-License-Identifier: Apache-2.0
"""The device API: authentication, the next deployment, reports, logs, inventory.

An answer that acknowledges something is given only after its transaction is on the disk.
"""

import json
import uuid
from dataclasses import asdict, replace
from typing import Any

from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server_stub.api.calls import Call, done, endpoint, for_device
from server_stub.clock import now, stamp
from server_stub.domain import deployments as rules
from server_stub.domain import inventory, jsontext, links, logs, tokens
from server_stub.domain.artifacts import Artifact
from server_stub.domain.artifacts import choose as choose_artifact
from server_stub.domain.deployments import Asked, Author, Entry, Settle
from server_stub.domain.devices import AuthSet, AuthStatus, introduce, read_introduction
from server_stub.errors import Conflict, NotFound, Unauthorized
from server_stub.lab.journal import name_device
from server_stub.storage import artifacts, deployments, devices


def authenticate(call: Call) -> Response:
    request = read_introduction(call.body, call.header("x-men-signature"))
    moment = now()
    ts = stamp(moment)
    with call.services.database.writing() as connection:
        device = devices.by_identity(connection, request.identity) or devices.create(connection, request.identity, ts)
        name_device(call.request.scope, device.id)
        candidate = AuthSet(str(uuid.uuid4()), device.id, request.pubkey, AuthStatus.PENDING, ts)
        known = devices.auth_sets_of(connection, [device.id])
        changed = introduce(known, candidate, accept_new=call.services.accept_all)
        devices.save_auth_sets(connection, changed, ts)
        current = devices.auth_sets_of(connection, [device.id])
    mine = next(one for one in current if one.pubkey == request.pubkey)
    if mine.status is not AuthStatus.ACCEPTED:
        raise Unauthorized(f"The device is not accepted: its key is {mine.status}.")
    token = tokens.for_device(call.services.secret, device.id, mine.id, moment)
    return Response(token, media_type="application/jwt")


def next_v2(call: Call, device: str) -> Response:
    provides = call.json().get("device_provides")
    return _next(call, device, provides if isinstance(provides, dict) else {})


def next_v1(call: Call, device: str) -> Response:
    return _next(call, device, call.json())


def next_v1_query(call: Call, device: str) -> Response:
    return _next(call, device, dict(call.request.query_params))


def _next(call: Call, device: str, provides: dict[str, Any]) -> Response:
    asked = Asked(jsontext.text_of("device_type", provides), jsontext.text_of("artifact_name", provides))
    ts = stamp(now())
    call.services.check_ins[device] = ts
    # Most polls find nothing: those never wait for a writer.
    with call.services.database.reading() as connection:
        if rules.choose(deployments.entries_of_device(connection, device)) is None:
            return done()
    with call.services.database.writing() as connection:
        entry = rules.choose(deployments.entries_of_device(connection, device))
        if entry is None:
            return done()
        artifact = _artifact_for(connection, entry, asked)
        answer = rules.answer(entry, asked, artifact.id if artifact else None)
        if isinstance(answer, Settle):
            settled = rules.move(entry, answer.status, None, ts)
            deployments.save(connection, replace(settled, asked=entry.asked or asked))
            deployments.record(connection, settled, ts, Author.SERVER)
        elif entry.artifact_id is None:
            # Only the first time: asking again changes nothing and must not cost a flush.
            deployments.save(connection, replace(entry, asked=asked, artifact_id=answer.artifact_id))
    if isinstance(answer, Settle):
        if answer.refusal:
            raise Conflict(answer.refusal)
        return done()
    assert artifact is not None
    return JSONResponse(_instructions(call, entry, artifact))


def _artifact_for(connection: Connection, entry: Entry, asked: Asked) -> Artifact | None:
    """What the device was promised once stays its artifact until the deployment ends."""
    if entry.artifact_id is not None:
        return artifacts.by_id(connection, entry.artifact_id)
    return choose_artifact(artifacts.by_name(connection, entry.artifact_name), asked.device_type)


def _instructions(call: Call, entry: Entry, artifact: Artifact) -> dict[str, Any]:
    expire = now() + links.LIFE
    token = links.sign(call.services.secret, artifact.id, entry.device_id, expire)
    # The device knows the server by the name it has just used, which need not be the operator's name for it.
    uri = call.request.base_url.replace(path=f"/artifacts/download/{artifact.id}", query=f"token={token}")
    return {
        "id": entry.deployment_id,
        "artifact": {
            "id": artifact.id,
            "artifact_name": artifact.facts.name,
            "source": {"uri": str(uri), "expire": stamp(expire)},
            "device_types_compatible": list(artifact.facts.device_types),
        },
    }


def report_status(call: Call, device: str) -> Response:
    status, substate = rules.read_report(call.json())
    ts = stamp(now())
    with call.services.database.writing() as connection:
        entry = _entry(connection, call.path("deployment"), device)
        moved = rules.move(entry, status, substate, ts)
        deployments.save(connection, moved)
        deployments.record(connection, moved, ts, Author.DEVICE)
    return done()


def report_log(call: Call, device: str) -> Response:
    lines = logs.read_log(call.body)
    with call.services.database.writing() as connection:
        entry = _entry(connection, call.path("deployment"), device)
        deployments.save_log(connection, entry, json.dumps([asdict(line) for line in lines]))
    return done()


def put_inventory(call: Call, device: str) -> Response:
    return _keep_inventory(call, device, replace_all=True)


def patch_inventory(call: Call, device: str) -> Response:
    return _keep_inventory(call, device, replace_all=False)


def _keep_inventory(call: Call, device: str, *, replace_all: bool) -> Response:
    values = inventory.read_attributes(call.body)
    with call.services.database.writing() as connection:
        if devices.by_id(connection, device) is None:
            raise Unauthorized("The device has been decommissioned: it must introduce itself again.")
        devices.save_attributes(connection, device, values, stamp(now()), replace_all=replace_all)
    # Mender's clients take nothing but 200 here.
    return Response(status_code=200)


def _entry(connection: Connection, deployment: str, device: str) -> Entry:
    entry = deployments.entry(connection, deployment, device)
    if entry is None:
        raise NotFound("There is no such deployment for this device.")
    return entry


_DEPLOYMENT = "/api/devices/v1/deployments/device/deployments"
_ATTRIBUTES = "/api/devices/v1/inventory/device/attributes"

routes = [
    Route("/api/devices/v1/authentication/auth_requests", endpoint(authenticate), methods=["POST"]),
    Route("/api/devices/v2/deployments/device/deployments/next", for_device(next_v2), methods=["POST"]),
    Route(f"{_DEPLOYMENT}/next", for_device(next_v1), methods=["POST"]),
    Route(f"{_DEPLOYMENT}/next", for_device(next_v1_query), methods=["GET"]),
    Route(f"{_DEPLOYMENT}/{{deployment}}/status", for_device(report_status), methods=["PUT"]),
    Route(f"{_DEPLOYMENT}/{{deployment}}/log", for_device(report_log), methods=["PUT"]),
    Route(_ATTRIBUTES, for_device(put_inventory), methods=["PUT"]),
    Route(_ATTRIBUTES, for_device(patch_inventory), methods=["PATCH"]),
]
