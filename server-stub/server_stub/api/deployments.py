# SPDX-License-Identifier: Apache-2.0
"""Deployments for the operator: create, watch, abort, and read what a failed device had to say."""

import json
import uuid
from collections.abc import Sequence
from typing import Any

from sqlalchemy import Connection, Row
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from server_stub.api.calls import Call, created, done, for_user, paged, read_page
from server_stub.clock import now, stamp
from server_stub.domain import deployments as rules
from server_stub.domain import jsontext, logs
from server_stub.domain.deployments import Author, Deployment, Entry, Status
from server_stub.errors import Conflict, Malformed, NotFound, Unprocessable
from server_stub.storage import artifacts, deployments, devices

ROOT = "/api/management/v1/deployments/deployments"


def create(call: Call) -> Response:
    value = call.json()
    name, artifact_name = jsontext.text_of("name", value), jsontext.text_of("artifact_name", value)
    deployment = Deployment(
        str(uuid.uuid4()), name, artifact_name, value.get("force_installation") is True, stamp(now()), None
    )
    with call.services.database.writing() as connection:
        wanted = _devices_wanted(connection, value)
        if not artifacts.by_name(connection, artifact_name):
            raise Unprocessable(f"There is no artifact {artifact_name!r}: upload it first.")
        if set(wanted) in deployments.unfinished_alike(connection, name, artifact_name).values():
            raise Conflict("The same deployment for the same devices is not finished yet: wait for it or abort it.")
        deployments.add(connection, deployment, wanted)
    return created(f"{ROOT}/{deployment.id}")


def list_all(call: Call) -> Response:
    with call.services.database.reading() as connection:
        found, total = deployments.listed(connection, read_page(call))
        return paged(_shown(connection, found), total)


def get_one(call: Call) -> Response:
    with call.services.database.reading() as connection:
        return JSONResponse(_shown(connection, [_existing(connection, call)])[0])


def list_devices(call: Call) -> Response:
    with call.services.database.reading() as connection:
        deployment = _existing(connection, call)
        found, total = deployments.entries_listed(connection, deployment.id, read_page(call))
        histories = deployments.history_of(connection, deployment.id, [entry.device_id for entry in found])
    return paged([_entry_shown(entry, histories[entry.device_id]) for entry in found], total)


def statistics(call: Call) -> Response:
    with call.services.database.reading() as connection:
        deployment = _existing(connection, call)
        counts = deployments.counts(connection, [deployment.id])[deployment.id]
    return JSONResponse(rules.statistics(counts))


def abort(call: Call) -> Response:
    if call.json().get("status") != Status.ABORTED:
        raise Malformed('"status" must be "aborted".')
    ts = stamp(now())
    with call.services.database.writing() as connection:
        deployment = _existing(connection, call)
        waiting = deployments.unfinished_entries(connection, deployment=deployment.id)
        if not waiting:
            raise Unprocessable("The deployment is already finished.")
        for entry in waiting:
            ended = rules.move(entry, Status.ABORTED, None, ts)
            deployments.save(connection, ended)
            deployments.record(connection, ended, ts, Author.OPERATOR)
    return done()


def get_log(call: Call) -> Response:
    with call.services.database.reading() as connection:
        kept = deployments.log_of(connection, call.path("deployment"), call.path("device"))
    if kept is None:
        raise NotFound("This device has sent no log for this deployment.")
    return PlainTextResponse(logs.render([logs.Line(**line) for line in json.loads(kept)]))


def _devices_wanted(connection: Connection, value: dict[str, Any]) -> tuple[str, ...]:
    listed = value.get("devices")
    if value.get("all_devices") is True:
        if listed:
            raise Malformed('Give either "devices" or "all_devices".')
        wanted = devices.accepted(connection)
        if not wanted:
            raise Malformed("No device is accepted yet, so there is none to deploy to.")
        return wanted
    if not isinstance(listed, list) or not listed or not all(isinstance(one, str) for one in listed):
        raise Malformed('"devices" must be a list of device ids.')
    unknown = set(listed) - devices.known_among(connection, listed)
    if unknown:
        # A mistyped id would wait for ever.
        raise Malformed(f"There is no device {min(unknown)!r}.")
    return tuple(dict.fromkeys(listed))


def _existing(connection: Connection, call: Call) -> Deployment:
    deployment = deployments.by_id(connection, call.path("deployment"))
    if deployment is None:
        raise NotFound("There is no such deployment.")
    return deployment


def _shown(connection: Connection, found: Sequence[Deployment]) -> list[dict[str, Any]]:
    counts = deployments.counts(connection, [one.id for one in found])
    artifact_ids = artifacts.ids_by_name(connection, {one.artifact_name for one in found})
    return [
        {
            "id": one.id,
            "name": one.name,
            "artifact_name": one.artifact_name,
            "artifacts": artifact_ids[one.artifact_name],
            "status": rules.overall(counts[one.id].keys()),
            "created": one.created,
            "finished": one.finished,
            "device_count": sum(counts[one.id].values()),
            "max_devices": sum(counts[one.id].values()),
            "force_installation": one.force,
            "groups": [],
            "type": "software",
            "statistics": {"status": rules.statistics(counts[one.id])},
        }
        for one in found
    ]


def _entry_shown(entry: Entry, history: Sequence[Row[Any]]) -> dict[str, Any]:
    return {
        "id": entry.device_id,
        "status": entry.status,
        "substate": entry.substate,
        "created": entry.created,
        "started": entry.started,
        "finished": entry.finished,
        "log": entry.has_log,
        "history": [
            {"status": row.status, "substate": row.substate, "time": row.time, "by": row.author} for row in history
        ],
    }


routes = [
    Route(ROOT, for_user(create), methods=["POST"]),
    Route(ROOT, for_user(list_all), methods=["GET"]),
    Route(f"{ROOT}/{{deployment}}", for_user(get_one), methods=["GET"]),
    Route(f"{ROOT}/{{deployment}}/status", for_user(abort), methods=["PUT"]),
    Route(f"{ROOT}/{{deployment}}/statistics", for_user(statistics), methods=["GET"]),
    Route(f"{ROOT}/{{deployment}}/devices", for_user(list_devices), methods=["GET"]),
    Route(f"{ROOT}/{{deployment}}/devices/{{device}}/log", for_user(get_log), methods=["GET"]),
]
