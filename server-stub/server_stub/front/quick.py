# SPDX-License-Identifier: Apache-2.0
"""Polls that find nothing, answered before anything else sees them: nearly all that a fleet asks."""

import math
from collections.abc import Mapping
from datetime import datetime
from typing import Any

from sqlalchemy import Connection
from starlette.types import ASGIApp, Receive, Scope, Send

from server_stub.clock import now
from server_stub.domain import tokens
from server_stub.domain.tokens import DeviceBearer
from server_stub.errors import TooMany, Unauthorized
from server_stub.front.bounds import refuse
from server_stub.front.guards import TOO_OFTEN
from server_stub.jobs import polls
from server_stub.lab.journal import name_device
from server_stub.recent import LONGEST_IDLE, Idle, Session
from server_stub.services import Services
from server_stub.storage import deployments, devices
from server_stub.storage.revisions import Topic

_V1, _V2 = (f"/api/devices/v{number}/deployments/device/deployments/next" for number in (1, 2))
NEXT = frozenset({("POST", _V1), ("GET", _V1), ("POST", _V2)})
START: Any = {"type": "http.response.start", "status": 204, "headers": []}
END: Any = {"type": "http.response.body", "body": b""}
# In the scope of a poll for which there may be something: nobody need look a second time.
LOOKED = "server_stub.looked"


class Quick:
    """Answers 204 to a device for which there is nothing: by what is remembered (server_stub.recent), or by a glance.

    All others go the whole way; so does who cannot be told 204, and is told why there.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        authorization, device, moment = _of_poll(scope), None, now()
        if authorization is not None:
            device = self._remembered(authorization, moment) or await self._found(scope, authorization, moment)
        if device is None:
            await self._app(scope, receive, send)
        elif self._note(scope, device, moment):
            await send(START)
            await send(END)
        else:
            await refuse(send, TooMany(TOO_OFTEN), scope)

    def knows(self, scope: Scope) -> bool:
        """Whether this is a poll that finds nothing, by what is remembered alone; if so, it counts as answered."""
        authorization = _of_poll(scope)
        if authorization is None:
            return False
        moment = now()
        device = self._remembered(authorization, moment)
        return device is not None and self._note(scope, device, moment)

    def _note(self, scope: Scope, device: str, moment: datetime) -> bool:
        """Note that the device has asked; whether it may."""
        name_device(scope, device)
        if not self._services.guards.may_ask(device):
            return False
        self._services.check_in(device, moment)
        self._services.metrics.idle_polls.inc()
        return True

    def _remembered(self, authorization: str, moment: datetime) -> str | None:
        recent, seconds = self._services.recent, moment.timestamp()
        device = recent.device_of(authorization, seconds)
        return device if device is not None and recent.is_idle(device, seconds) else None

    async def _found(self, scope: Scope, authorization: str, moment: datetime) -> str | None:
        try:
            device, nothing = await _look(self._services, authorization, moment)
        except Exception:
            # Whatever it is, the whole way says it, with an id and a line in the log.
            return None
        scope[LOOKED] = True
        return device if nothing else None


def _of_poll(scope: Scope) -> str | None:
    """What a poll shows in its Authorization header; None for all other requests."""
    if scope["type"] == "http" and (scope["method"], scope["path"]) in NEXT:
        for name, value in scope["headers"]:
            if name == b"authorization":
                shown: str = value.decode("latin-1")
                return shown
    return None


async def bearer_of(services: Services, authorization: str) -> str:
    """The device whose token this is, if its key is accepted. Raises Unauthorized."""
    moment = now()
    device = services.recent.device_of(authorization, moment.timestamp())
    if device is not None:
        return device
    bearer = tokens.read_device(services.secret, authorization, moment)

    def look(connection: Connection) -> str:
        return _let_in(services, authorization, bearer, dict(services.recent.revisions), connection)

    return await services.glance(look)


async def rest(services: Services, device: str, moment: datetime) -> bool:
    """Whether there is nothing for the device; remembered, until something changes or a phase may open."""

    def look(connection: Connection) -> bool:
        return _rest(services, device, moment, dict(services.recent.revisions), connection)

    return await services.glance(look)


async def _look(services: Services, authorization: str, moment: datetime) -> tuple[str, bool]:
    """Whose token this is, and whether there is nothing for that device, at one glance. Raises Unauthorized."""
    device = services.recent.device_of(authorization, moment.timestamp())
    if device is not None:
        return device, await rest(services, device, moment)
    bearer = tokens.read_device(services.secret, authorization, moment)

    def look(connection: Connection) -> tuple[str, bool]:
        # As they are before the first statement: what is read must not be older than what it is remembered for.
        revisions = dict(services.recent.revisions)
        found = _let_in(services, authorization, bearer, revisions, connection)
        return found, _rest(services, found, moment, revisions, connection)

    return await services.glance(look)


def _let_in(
    services: Services,
    authorization: str,
    bearer: DeviceBearer,
    revisions: Mapping[Topic, int],
    connection: Connection,
) -> str:
    if not devices.is_accepted(connection, bearer.device, bearer.auth_set):
        raise Unauthorized("The device is no longer accepted: it must ask for a new token.")
    session = Session(bearer.device, bearer.expires.timestamp(), revisions[Topic.ACCESS])
    services.recent.remember(authorization, session)
    return bearer.device


def _rest(
    services: Services, device: str, moment: datetime, revisions: Mapping[Topic, int], connection: Connection
) -> bool:
    recent, revision = services.recent, revisions[Topic.WORK]
    open_ones = deployments.open_to_all(connection) if recent.may_have_open(revision) else []
    if not open_ones:
        recent.note_none_open(revision)
    nothing = polls.idle(connection, device, open_ones, moment)
    if nothing is None:
        return False
    # What another process writes about this one device is not told: such a memory does not last long.
    latest = moment.timestamp() + LONGEST_IDLE if services.database.is_shared else math.inf
    until = nothing.until.timestamp() if nothing.until else math.inf
    recent.rest(device, Idle(min(until, latest), revision))
    return True
