# SPDX-License-Identifier: Apache-2.0
"""The fleet at a glance: who there is, what runs, what is on its way, what failed, and who waits to be let in."""

from collections.abc import Sequence
from functools import partial
from typing import Any

from fastapi import Request, Response
from sqlalchemy import Connection

from server_stub.api import deployment_shown
from server_stub.api.devices import shown as devices_shown
from server_stub.api.kit import ServicesDep
from server_stub.domain.devices import Device
from server_stub.domain.inventory import Scope
from server_stub.services import Services
from server_stub.storage import artifacts, attributes, deployments, devices, failures
from server_stub.storage.deployments import Wanted
from server_stub.storage.page import Page
from server_stub.web import words
from server_stub.web.render import Visitor, page, router

routes = router()
MOST_VERSIONS = 12
MOST_SHOWN = 10
MOST_WAITING = 5
STATUSES = ("accepted", "pending", "rejected", "preauthorized", "noauth")


@routes.get("/")
async def fleet(request: Request, services: ServicesDep, _: Visitor) -> Response:
    return page(request, "fleet.html", **await services.read(partial(_look, services=services)))


def _look(link: Connection, services: Services) -> dict[str, Any]:
    counts = devices.counts(link)
    waiting, waiting_total = devices.waiting(link, Page(1, MOST_WAITING))
    running, running_total = deployments.listed(link, Wanted(status="unfinished"), Page(1, MOST_SHOWN))
    failed = failures.latest(link, MOST_SHOWN)
    return {
        "counts": [
            (status, counts.get(status, 0)) for status in STATUSES if counts.get(status) or status == "accepted"
        ],
        "total": sum(counts.values()),
        "versions": _versions(link, counts.get("accepted", 0)),
        "running": deployment_shown.deployments_shown(link, running),
        "running_total": running_total,
        "failures": failed,
        "names": names(link, [one.device_id for one in failed]),
        "waiting": devices_shown(link, services, waiting),
        "waiting_total": waiting_total,
        "next_step": _next_step(link, counts),
    }


def _versions(link: Connection, accepted: int) -> list[dict[str, Any]]:
    """How many accepted devices run what; the last rows are those that are not told apart."""
    found = attributes.numbers_of_values(link, Scope.INVENTORY, "artifact_name", MOST_VERSIONS)
    rows: list[dict[str, Any]] = [{"name": name, "link": True, "number": number} for name, number in found]
    left = accepted - sum(number for _, number in found)
    if left > 0:
        name = "others" if len(found) == MOST_VERSIONS else "not said yet"
        rows.append({"name": name, "link": False, "number": left})
    for row in rows:
        row["percent"] = max(row["number"] * 100 / accepted, words.SLIVER) if accepted else 0
    return rows


def _next_step(link: Connection, counts: dict[str, int]) -> str | None:
    """What to do where there is nothing to look at yet."""
    if not counts:
        return "none"
    if not counts.get("accepted"):
        return None
    if not artifacts.latest_names(link, 1):
        return "upload"
    return None if deployments.listed(link, Wanted(), Page(1, 1))[1] else "deploy"


def names(link: Connection, ids: Sequence[str]) -> dict[str, str]:
    """What to call devices, by their ids; a device that is gone is called by its id."""
    known: dict[str, Device] = devices.by_ids(link, set(ids))
    return {one: words.label(known[one].identity) if one in known else one for one in ids}
