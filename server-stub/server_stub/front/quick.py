# SPDX-License-Identifier: Apache-2.0
"""Polls that find nothing, answered before anything else sees them: nearly all that a fleet asks."""

from starlette.types import ASGIApp, Receive, Scope, Send

from server_stub.clock import now
from server_stub.errors import TooMany
from server_stub.front.bounds import refuse
from server_stub.front.guards import TOO_OFTEN
from server_stub.lab.journal import name_device
from server_stub.services import Services

_V1, _V2 = (f"/api/devices/v{number}/deployments/device/deployments/next" for number in (1, 2))
NEXT = frozenset({("POST", _V1), ("GET", _V1), ("POST", _V2)})
_START = {"type": "http.response.start", "status": 204, "headers": []}
_END = {"type": "http.response.body", "body": b""}


class Quick:
    """Answers 204 for a device of which it is remembered that there is nothing for it (server_stub.recent)."""

    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_poll = scope["type"] == "http" and (scope["method"], scope["path"]) in NEXT
        device = self._idle(scope) if is_poll else None
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

    def _idle(self, scope: Scope) -> str | None:
        for name, value in scope["headers"]:
            if name == b"authorization":
                recent, moment = self._services.recent, now().timestamp()
                device = recent.device_of(value.decode("latin-1"), moment)
                if device is None or not recent.is_idle(device, moment):
                    return None
                return device
        return None
