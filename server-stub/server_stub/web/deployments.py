# SPDX-License-Identifier: Apache-2.0
"""Deployments for people: the list with the form that starts one, one with its progress, and a device's log."""

import json
import math
from collections.abc import Mapping
from typing import Annotated, Any, Literal

from fastapi import Query, Request, Response
from sqlalchemy import Connection

from server_stub.api import deployment_shown
from server_stub.api.kit import PageDep, ServicesDep, Text
from server_stub.api.statuses import FilterWord, statuses_of
from server_stub.clock import now, stamp
from server_stub.domain import logs
from server_stub.errors import NotFound
from server_stub.jobs import orders
from server_stub.storage import artifacts, deployments, entries, groups
from server_stub.storage.page import Page
from server_stub.web import words
from server_stub.web.fleet import names
from server_stub.web.render import Visitor, page, paging, router

routes = router()
MOST_CHOICES = 500
Word = Annotated[Text, Query(max_length=256)]


@routes.get("/ui/deployments")
async def list_all(
    request: Request,
    services: ServicesDep,
    _: Visitor,
    part: PageDep,
    q: Word = "",
    status: Literal["", "unfinished", "finished"] = "",
    artifact: Word = "",
    device: Word = "",
    group: Word = "",
) -> Response:
    """`artifact`, `device` and `group` are filled into the form, which is then open."""
    wanted = deployments.Wanted(name=q.strip() or None, status=status or None)

    def look(link: Connection) -> dict[str, Any]:
        found, total = deployments.listed(link, wanted, part)
        return {
            "deployments": deployment_shown.deployments_shown(link, found),
            "paging": paging(request, part, total),
            "choices": _choices(link, artifact),
        }

    asked = {"q": q, "status": status, "artifact": artifact, "device": device, "group": group}
    return page(request, "deployments.html", asked=asked, **await services.read(look))


def _choices(link: Connection, artifact: str) -> dict[str, Any]:
    """What the form lets one choose from."""
    known = artifacts.latest_names(link, MOST_CHOICES)
    if artifact and artifact not in known and artifacts.by_name(link, artifact):
        known.append(artifact)
    filters, _total = groups.filters_listed(link, Page(1, MOST_CHOICES))
    return {"artifacts": known, "groups": groups.listed(link, "accepted"), "filters": filters}


@routes.get("/ui/deployments/{deployment_id}")
async def get_one(
    request: Request,
    services: ServicesDep,
    _: Visitor,
    part: PageDep,
    deployment_id: Text,
    status: FilterWord | Literal[""] = "",
) -> Response:
    def look(link: Connection) -> tuple[dict[str, Any], int]:
        deployment = deployment_shown.deployments_shown(link, [orders.existing(link, deployment_id)])[0]
        found, total = entries.listed(link, deployment_id, statuses_of(status), part)
        counts = deployment["statistics"]["status"]
        return {
            "deployment": deployment,
            "counts": {one: number for one, number in counts.items() if number},
            "phases": _phases(deployment),
            "rows": deployment_shown.parts_shown(link, found),
            "names": names(link, [one.device_id for one in found]),
        }, total

    shown, total = await services.read(look)
    waits = words.waits_for_operator(shown["deployment"]["phases"])
    return page(
        request, "deployment.html", paging=paging(request, part, total), asked_status=status, waits=waits, **shown
    )


def _phases(deployment: Mapping[str, Any]) -> list[dict[str, Any]]:
    """The phases in words, if there is more than one."""
    phases, moment = deployment["phases"], stamp(now())
    found: list[dict[str, Any]] = []
    for phase in phases if len(phases) > 1 else ():
        percent, count = phase["batch_size"], phase["device_count"]
        share = math.ceil(percent * deployment["initial_device_count"] / 100 - 1e-9) if percent else count
        found.append(
            {
                "percent": percent,
                "devices": share,
                "start": phase["start_ts"],
                "is_open": phase["start_ts"] is not None and phase["start_ts"] <= moment,
                "pause": phase["pause"],
            }
        )
    return found


@routes.get("/ui/deployments/{deployment_id}/devices/{device_id}/log")
async def get_log(
    request: Request, services: ServicesDep, _: Visitor, deployment_id: Text, device_id: Text
) -> Response:
    def look(link: Connection) -> dict[str, Any]:
        order = orders.existing(link, deployment_id)
        kept = entries.log_of(link, deployment_id, device_id)
        if kept is None:
            raise NotFound("This device has sent no log for this deployment.")
        entry = entries.by_key(link, deployment_id, device_id)
        assert entry is not None
        return {
            "deployment": order,
            "part": deployment_shown.parts_shown(link, [entry])[0],
            "name": names(link, [device_id])[device_id],
            "lines": [logs.Line(**line) for line in json.loads(kept)],
        }

    return page(request, "log.html", **await services.read(look))
