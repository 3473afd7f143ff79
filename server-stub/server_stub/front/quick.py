# SPDX-License-Identifier: Apache-2.0
"""Polls that find nothing, answered before anything else sees them: nearly all that a fleet asks."""

import math
from datetime import datetime
from functools import partial

from sqlalchemy import Connection
from starlette.types import ASGIApp, Receive, Scope, Send

from server_stub.clock import now
from server_stub.domain import tokens
from server_stub.errors import TooMany, Unauthorized
from server_stub.front.bounds import refuse
from server_stub.front.guards import TOO_OFTEN
from server_stub.jobs import polls
from server_stub.lab.journal import name_device
from server_stub.recent import LONGEST_IDLE, Idle, Session
from server_stub.services import Services
from server_stub.storage import devices
from server_stub.storage.revisions import Topic

_V1, _V2 = (f"/api/devices/v{number}/deployments/device/deployments/next" for number in (1, 2))
NEXT = frozenset({("POST", _V1), ("GET", _V1), ("POST", _V2)})
_START = {"type": "http.response.start", "status": 204, "headers": []}
_END = {"type": "http.response.body", "body": b""}


class Quick:
    """Answers 204 to a device for which there is nothing: by what is remembered (server_stub.recent), or by a glance.

    All others go the whole way; so does who cannot be told 204, and is told why there.
    """

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_poll = scope["type"] == "http" and (scope["method"], scope["path"]) in NEXT
        device = await self._idle(scope) if is_poll else None
        if device is None:
            await self._app(scope, receive, send)
            return
        name_device(scope, device)
        if not self._services.guards.may_ask(device):
            await refuse(send, TooMany(TOO_OFTEN), scope)
            return
        self._services.check_in(device)
        self._services.metrics.idle_polls.inc()
        await send(_START)
        await send(_END)

    async def _idle(self, scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name == b"authorization":
                return await self._idle_with(value.decode("latin-1"))
        return None

    async def _idle_with(self, authorization: str) -> str | None:
        recent, moment = self._services.recent, now()
        device = recent.device_of(authorization, moment.timestamp())
        if device is not None and recent.is_idle(device, moment.timestamp()):
            return device
        try:
            device = await bearer_of(self._services, authorization)
            nothing = await self._services.glance(partial(rest, self._services, device, moment))
        except Exception:
            # Whatever it is, the whole way says it, with an id and a line in the log.
            return None
        return device if nothing else None


async def bearer_of(services: Services, authorization: str) -> str:
    """The device whose token this is, if its key is accepted. Raises Unauthorized."""
    moment = now()
    device = services.recent.device_of(authorization, moment.timestamp())
    if device is not None:
        return device
    bearer = tokens.read_device(services.secret, authorization, moment)
    revision = services.recent.revisions[Topic.ACCESS]
    if not await services.glance(lambda link: devices.is_accepted(link, bearer.device, bearer.auth_set)):
        raise Unauthorized("The device is no longer accepted: it must ask for a new token.")
    services.recent.remember(authorization, Session(bearer.device, bearer.expires.timestamp(), revision))
    return bearer.device


def rest(services: Services, device: str, moment: datetime, connection: Connection) -> bool:
    """Whether there is nothing for the device; remembered, until something changes or a phase may open."""
    revision = services.recent.revisions[Topic.WORK]
    nothing = polls.idle(connection, device, moment)
    if nothing is None:
        return False
    # What another process writes about this one device is not told: such a memory does not last long.
    latest = moment.timestamp() + LONGEST_IDLE if services.database.is_shared else math.inf
    until = nothing.until.timestamp() if nothing.until else math.inf
    services.recent.rest(device, Idle(min(until, latest), revision))
    return True
