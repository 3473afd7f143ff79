# SPDX-License-Identifier: Apache-2.0
"""uvicorn's HTTP protocol with two bounds of its own: how long and how large a request's head may be; and with a short
way for what is answered 204 at once."""

import asyncio
from collections.abc import Callable, Coroutine
from typing import Any, ClassVar

from starlette.types import Scope
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from server_stub.domain.limits import Limits
from server_stub.front.quick import END, START


class BoundedProtocol(HttpToolsProtocol):
    """Closes connections that begin a request and do not get on with it; `limits` is set by `bounded`."""

    limits: ClassVar[Limits] = Limits()

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._head = 0
        self._has_body = False
        self._awaits_head = True
        self._timer: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._watch()

    def connection_lost(self, exc: Exception | None) -> None:
        self._unwatch()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        self._has_body = False
        super().data_received(data)
        if self.parser is None:
            return
        # What is no body is kept whole by the parser: the head, and also what may follow a body's last chunk.
        self._head = 0 if self._has_body else self._head + len(data)
        if self._head > self.limits.header:
            self.send_400_response("The head of the request is too large.")
        elif self._awaits_head and self._timer is None:
            self._watch()

    def on_message_begin(self) -> None:
        self._awaits_head, self._head = True, 0
        super().on_message_begin()

    def on_headers_complete(self) -> None:
        self._awaits_head = False
        self._unwatch()
        super().on_headers_complete()

    @staticmethod
    def nothing_for(_scope: Any) -> bool:
        """Whether a request is to be answered 204 at once: a task for each of those would take longer than all else."""
        return False

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        if app is self.app and not self.flow.write_paused and self.nothing_for(cycle.scope):
            _run(cycle.send(START))
            _run(cycle.send(END))
        else:
            super()._start_asgi_task(cycle, app)

    def on_body(self, body: bytes) -> None:
        self._has_body = True
        super().on_body(body)

    def _watch(self) -> None:
        self._timer = self.loop.call_later(self.limits.patience, self._give_up)

    def _unwatch(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _give_up(self) -> None:
        self._timer = None
        if not self.transport.is_closing():
            self.transport.close()


def _run(sending: Coroutine[Any, Any, None]) -> None:
    """To its end: nothing is waited for while the connection takes what is written."""
    try:
        sending.send(None)
    except StopIteration:
        return
    raise AssertionError("A connection that takes what is written made its writer wait.")


def bounded(limits: Limits, nothing_for: Callable[[Scope], bool]) -> type[BoundedProtocol]:
    """The protocol with the owner's limits, and with what knows the requests that are answered at once."""
    return type("Bounded", (BoundedProtocol,), {"limits": limits, "nothing_for": staticmethod(nothing_for)})
