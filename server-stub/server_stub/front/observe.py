# SPDX-License-Identifier: Apache-2.0
"""Around all but idle polls: gives each request its id, counts and times it, and writes one line about it.

Never the query, a header or a body: links and tokens are in them.
"""

import itertools
import logging
import secrets
import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server_stub.services import Services

log = logging.getLogger("server_stub.requests")
GONE = 499
BROKEN = 500


class Observe:
    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._metrics = services.metrics
        # Unlike those of any other server, and counted up: drawing lots for each takes longer than an idle poll.
        own = secrets.token_hex(4)
        self._ids = (f"{own}{number:08x}" for number in itertools.count(1))

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = time.perf_counter()
        scope["request_id"] = request_id = next(self._ids)
        status = GONE
        size = 0

        async def watched(message: Message) -> None:
            nonlocal status, size
            if message["type"] == "http.response.start":
                status = message["status"]
                own = [(b"x-men-requestid", request_id.encode()), (b"x-content-type-options", b"nosniff")]
                message = {**message, "headers": [*message["headers"], *own]}
            else:
                size += len(message.get("body", b""))
            await send(message)

        try:
            await self._app(scope, receive, watched)
        except Exception:
            status = BROKEN
            raise
        finally:
            self._note(scope, status, size, time.perf_counter() - began)

    def _note(self, scope: Scope, status: int, size: int, seconds: float) -> None:
        route = getattr(scope.get("route"), "path", "") or "other"
        method = scope["method"]
        self._metrics.requests.labels(method, route, str(status)).inc()
        self._metrics.seconds.labels(route).observe(seconds)
        if route.startswith("/artifacts/"):
            self._metrics.sent.inc(size)
        level = logging.ERROR if status >= BROKEN and status != 503 else logging.INFO
        if log.isEnabledFor(level):
            told = {
                "request_id": scope["request_id"],
                "method": method,
                "path": scope["path"],
                "status": status,
                "bytes": size,
                "ms": round(seconds * 1000, 2),
                "device": scope.get("device"),
            }
            log.log(level, "request", extra=told)
