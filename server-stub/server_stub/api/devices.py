# SPDX-License-Identifier: Apache-2.0
"""Devices for the operator: who there is, who is accepted, what they tell about themselves, and their end."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from server_stub.api.calls import Call, created, done, for_user, paged, read_page
from server_stub.clock import now, stamp
from server_stub.domain import deployments as deployment_rules
from server_stub.domain import jsontext, keys
from server_stub.domain.deployments import Author, Status
from server_stub.domain.devices import AuthSet, AuthStatus, Device, decide, read_decision, read_identity
from server_stub.errors import Conflict, Malformed, NotFound
from server_stub.storage import deployments, devices

DEVAUTH = "/api/management/v2/devauth/devices"
INVENTORY = "/api/management/v1/inventory/devices"


def list_all(call: Call) -> Response:
    with call.services.database.reading() as connection:
        found, total = devices.listed(connection, _status_filter(call), read_page(call))
        return paged(_shown(call, connection, found), total)


def get_one(call: Call) -> Response:
    with call.services.database.reading() as connection:
        return JSONResponse(_shown(call, connection, [_existing(connection, call.path("device"))])[0])


def count(call: Call) -> Response:
    with call.services.database.reading() as connection:
        return JSONResponse({"count": devices.count(connection, _status_filter(call))})


def preauthorize(call: Call) -> Response:
    value = call.json()
    attributes = value.get("identity_data")
    if not isinstance(attributes, dict):
        raise Malformed('"identity_data" must be an object.')
    identity = read_identity(attributes)
    pubkey = keys.canonical_pem(keys.parse_public_key(jsontext.text_of("pubkey", value)))
    ts = stamp(now())
    with call.services.database.writing() as connection:
        if devices.by_identity(connection, identity) is not None:
            raise Conflict("A device with this identity is already known: accept its key instead.")
        device = devices.create(connection, identity, ts)
        auth_set = AuthSet(str(uuid.uuid4()), device.id, pubkey, AuthStatus.PREAUTHORIZED, ts)
        devices.save_auth_sets(connection, [auth_set], ts)
    return created(f"{DEVAUTH}/{device.id}")


def decommission(call: Call) -> Response:
    ts = stamp(now())
    with call.services.database.writing() as connection:
        device = _existing(connection, call.path("device"))
        for entry in deployments.unfinished_entries(connection, device=device.id):
            ended = deployment_rules.move(entry, Status.DECOMMISSIONED, None, ts)
            deployments.save(connection, ended)
            deployments.record(connection, ended, ts, Author.OPERATOR)
        devices.remove(connection, device.id)
    call.services.check_ins.pop(device.id, None)
    return done()


def put_auth_status(call: Call) -> Response:
    status = read_decision(call.json())
    ts = stamp(now())
    with call.services.database.writing() as connection:
        known = devices.auth_sets_of(connection, [call.path("device")])
        chosen = _among(known, call.path("auth_set"))
        devices.save_auth_sets(connection, decide(known, chosen.id, status), ts)
    return done()


def get_auth_status(call: Call) -> Response:
    with call.services.database.reading() as connection:
        known = devices.auth_sets_of(connection, [call.path("device")])
    return JSONResponse({"status": _among(known, call.path("auth_set")).status})


def list_inventory(call: Call) -> Response:
    with call.services.database.reading() as connection:
        found, total = devices.listed(connection, None, read_page(call))
        return paged(_inventory(connection, found), total)


def get_inventory(call: Call) -> Response:
    with call.services.database.reading() as connection:
        return JSONResponse(_inventory(connection, [_existing(connection, call.path("device"))])[0])


def _status_filter(call: Call) -> str | None:
    status = call.query("status")
    if status and status not in list(AuthStatus):
        raise Malformed(f'"status" must be one of {", ".join(AuthStatus)}.')
    return status or None


def _existing(connection: Connection, device_id: str) -> Device:
    device = devices.by_id(connection, device_id)
    if device is None:
        raise NotFound("There is no such device.")
    return device


def _among(known: Sequence[AuthSet], auth_set: str) -> AuthSet:
    found = next((one for one in known if one.id == auth_set), None)
    if found is None:
        raise NotFound("There is no such auth set of this device.")
    return found


def _shown(call: Call, connection: Connection, found: Sequence[Device]) -> list[dict[str, Any]]:
    auth_sets = devices.auth_sets_of(connection, [device.id for device in found])
    return [
        {
            "id": device.id,
            "identity_data": json.loads(device.identity),
            "status": device.status,
            "auth_sets": [_auth_set(one, device) for one in auth_sets if one.device_id == device.id],
            "created_ts": device.created_ts,
            "updated_ts": device.updated_ts,
            "check_in_time": call.services.check_ins.get(device.id, device.check_in_ts),
            "decommissioning": False,
        }
        for device in found
    ]


def _auth_set(one: AuthSet, device: Device) -> dict[str, Any]:
    return {
        "id": one.id,
        "pubkey": one.pubkey,
        "status": one.status,
        "identity_data": json.loads(device.identity),
        "ts": one.ts,
    }


def _inventory(connection: Connection, found: Sequence[Device]) -> list[dict[str, Any]]:
    wanted = [device.id for device in found]
    attributes, times = devices.attributes_of(connection, wanted), devices.inventory_times(connection, wanted)
    return [
        {
            "id": device,
            "attributes": [
                {"name": name, "value": value, "scope": "inventory"} for name, value in attributes[device].items()
            ],
            "updated_ts": times[device],
        }
        for device in wanted
    ]


routes = [
    Route(DEVAUTH, for_user(list_all), methods=["GET"]),
    Route(DEVAUTH, for_user(preauthorize), methods=["POST"]),
    Route(f"{DEVAUTH}/count", for_user(count), methods=["GET"]),
    Route(f"{DEVAUTH}/{{device}}", for_user(get_one), methods=["GET"]),
    Route(f"{DEVAUTH}/{{device}}", for_user(decommission), methods=["DELETE"]),
    Route(f"{DEVAUTH}/{{device}}/auth/{{auth_set}}/status", for_user(get_auth_status), methods=["GET"]),
    Route(f"{DEVAUTH}/{{device}}/auth/{{auth_set}}/status", for_user(put_auth_status), methods=["PUT"]),
    Route(INVENTORY, for_user(list_inventory), methods=["GET"]),
    Route(f"{INVENTORY}/{{device}}", for_user(get_inventory), methods=["GET"]),
]
