# SPDX-License-Identifier: Apache-2.0
"""What a request may be: no larger, no slower, no more often than the owner allows; and text that can be kept."""

import asyncio
import json
import math
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server_stub.errors import Busy, Malformed, Refusal, TooLarge, TooMany, TooSlow
from server_stub.services import Services

# Bodies that are streamed to the disk are counted where they are written.
STREAMED = frozenset({"/api/management/v1/deployments/artifacts"})
INTRODUCTION = "/api/devices/v1/authentication/auth_requests"
# A client that is cut off while sending sees a broken connection instead of the answer: hear it out, within reason.
HEARD_OUT = 16
# What each request may hold, however much the others do: polls and reports are smaller.
SMALL = 1 << 16
# How many times longer than between two of its pieces a whole body may take: who drips would otherwise never end.
WHOLE = 10


class Bounds:
    def __init__(self, app: ASGIApp, services: Services) -> None:
        self._app = app
        self._services = services
        self._limits = services.policy.limits
        self._room = self._limits.bodies

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with self._share() as take:
            try:
                self._check(scope)
                is_streamed = scope["path"] in STREAMED
                patient = self._patient(receive, math.inf if is_streamed else WHOLE * self._limits.patience)
                if not is_streamed:
                    patient = _then(await self._whole(patient, take), receive)
            except Refusal as refusal:
                await refuse(send, refusal, scope)
                return
            await self._app(scope, patient, send)

    @contextmanager
    def _share(self) -> Iterator[Callable[[int], None]]:
        """What one request holds of the memory for bodies; taken by saying how large its body is by now."""
        taken = 0

        def take(size: int) -> None:
            nonlocal taken
            more = max(0, size - SMALL) - taken
            if more > self._room:
                raise Busy("The server holds too many large bodies already: come back later.")
            self._room -= more
            taken += more

        try:
            yield take
        finally:
            self._room += taken

    def _check(self, scope: Scope) -> None:
        if "\0" in scope["path"] or b"%00" in scope["query_string"]:
            raise Malformed("The address holds the character NUL.")
        if scope["path"] == INTRODUCTION:
            address = scope["client"][0] if scope.get("client") else ""
            if not self._services.guards.may_introduce(address):
                raise TooMany("Too many introductions from this address: come back in a minute.")

    def _patient(self, receive: Receive, whole: float) -> Receive:
        clock = asyncio.get_running_loop().time
        end = clock() + whole

        async def patient() -> Message:
            try:
                return await asyncio.wait_for(receive(), min(self._limits.patience, end - clock()))
            except TimeoutError:
                raise TooSlow("The body did not arrive in time.") from None

        return patient

    async def _whole(self, receive: Receive, take: Callable[[int], None]) -> Message:
        """The whole body as one message."""
        kept, size, more = bytearray(), 0, True
        while more:
            message = await receive()
            if message["type"] == "http.disconnect":
                return message
            size += len(message.get("body", b""))
            more = message.get("more_body", False)
            if size <= self._limits.body:
                take(size)
                kept += message.get("body", b"")
            elif size > HEARD_OUT * self._limits.body:
                break
        if size > self._limits.body:
            raise TooLarge(f"The body is larger than {self._limits.body} bytes.")
        return {"type": "http.request", "body": bytes(kept), "more_body": False}


def _then(first: Message, receive: Receive) -> Receive:
    """One message, then what comes."""
    waiting = [first]

    async def replay() -> Message:
        if waiting:
            return waiting.pop()
        # What waits for the client to go away may wait as long as it likes.
        return await receive()

    return replay


async def refuse(send: Send, refusal: Refusal, scope: Scope) -> None:
    body = json.dumps({"error": str(refusal), "request_id": scope.get("request_id", "")}).encode()
    headers = {"content-type": "application/json", "content-length": str(len(body)), **refusal.headers}
    named = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
    await send({"type": "http.response.start", "status": refusal.status, "headers": named})
    await send({"type": "http.response.body", "body": body})
