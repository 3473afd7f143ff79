# SPDX-License-Identifier: Apache-2.0
"""Faults on the way of an answer: each tap takes the server's true answer and sends what a device is to see of it.

A tap that finds nothing to do (no body, no range) sends the answer as it is and has not fired.
"""

import asyncio
import re
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from starlette.types import Message, Scope, Send

from server_stub.lab.faults import ContentRange, Corrupt, Cut, EndlessData, Length, Slow, Stall
from server_stub.lab.journal import Entry
from server_stub.lab.wire import Wire

Headers = list[tuple[bytes, bytes]]
HUGE = 10**15
ZEROS = bytes(1 << 16)
STEPS = 10
"""pieces a second that a slow body comes in, if it is not slower than that"""
_RANGE = re.compile(r"bytes ([0-9]+)-([0-9]+)/([0-9]+)")


class Fires(Protocol):
    """Hears when a fault has its effect."""

    @property
    def entry(self) -> Entry | None: ...

    def fire(self) -> None: ...


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request, the way of its answer, and what is to hear that the answer was tampered with."""

    scope: Scope
    send: Send
    wire: Wire
    firing: Fires


class Tap:
    """Sends everything as it is."""

    def __init__(self, exchange: Exchange) -> None:
        self.exchange = exchange
        self.has_body = exchange.scope["method"] != "HEAD"

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            await self.begin({**message, "headers": list(message.get("headers", ()))})
        else:
            await self.carry(message.get("body", b""), message.get("more_body", False))

    async def begin(self, start: Message) -> None:
        await self.exchange.send(start)

    async def carry(self, body: bytes, more: bool) -> None:
        await self.pass_on(body, more)

    async def pass_on(self, body: bytes, more: bool) -> None:
        await self.exchange.send({"type": "http.response.body", "body": body, "more_body": more})


class _After(Tap):
    """Lets a number of bytes pass; what then happens, happens before the next."""

    def __init__(self, exchange: Exchange, after: int) -> None:
        super().__init__(exchange)
        self._left = after
        self._done = not self.has_body

    async def carry(self, body: bytes, more: bool) -> None:
        if self._done or len(body) <= self._left:
            self._left -= len(body)
            await self.pass_on(body, more)
            return
        self._done = True
        if self._left:
            await self.pass_on(body[: self._left], True)
        self.exchange.firing.fire()
        await self.then(body[self._left :], more)

    async def then(self, rest: bytes, more: bool) -> None:
        raise NotImplementedError


class StallTap(_After):
    def __init__(self, exchange: Exchange, fault: Stall) -> None:
        super().__init__(exchange, fault.after or 0)
        self._seconds = fault.seconds

    async def then(self, rest: bytes, more: bool) -> None:
        await self.exchange.wire.wait_gone(self._seconds)
        await self.pass_on(rest, more)


class CutTap(_After):
    def __init__(self, exchange: Exchange, fault: Cut) -> None:
        super().__init__(exchange, fault.after or 0)

    async def then(self, _rest: bytes, _more: bool) -> None:
        await self.exchange.wire.reset()


class SlowTap(Tap):
    def __init__(self, exchange: Exchange, fault: Slow) -> None:
        super().__init__(exchange)
        self._rate = fault.bytes_per_second

    async def carry(self, body: bytes, more: bool) -> None:
        if not self.has_body:
            await self.pass_on(body, more)
            return
        step = max(1, self._rate // STEPS)
        for first in range(0, len(body), step):
            piece = body[first : first + step]
            await self.pass_on(piece, True)
            self.exchange.firing.fire()
            await self.exchange.wire.wait_gone(len(piece) / self._rate)
            if self.exchange.wire.is_gone:
                return
        await self.pass_on(b"", more)


class LengthTap(Tap):
    def __init__(self, exchange: Exchange, fault: Length) -> None:
        super().__init__(exchange)
        self._off_by = fault.off_by
        self._left: int | None = None

    async def begin(self, start: Message) -> None:
        true = length_of(start["headers"])
        if true is not None and self.has_body and (said := max(0, true + self._off_by)) != true:
            self._left = said
            close = (b"connection", b"close")
            kept = without(start["headers"], b"content-length", b"connection")
            start["headers"] = [*kept, (b"content-length", b"%d" % said), close]
            self.exchange.firing.fire()
        await self.exchange.send(start)

    async def carry(self, body: bytes, more: bool) -> None:
        if self._left is None:
            await self.pass_on(body, more)
            return
        announced, surplus = body[: self._left], body[self._left :]
        self._left -= len(announced)
        await self.pass_on(announced, True)
        if surplus:
            # The server's protocol would not send them.
            self.exchange.wire.write(surplus)
            if self.exchange.firing.entry is not None:
                self.exchange.firing.entry.bytes += len(surplus)
        if not more:
            await self.exchange.wire.close()


class RangeTap(Tap):
    def __init__(self, exchange: Exchange, fault: ContentRange) -> None:
        super().__init__(exchange)
        self._says = fault.says

    async def begin(self, start: Message) -> None:
        if span := span_of(start["headers"]):
            start["headers"] = without(start["headers"], b"content-range")
            if self._says != "missing":
                start["headers"].append((b"content-range", self._range(*span).encode()))
            self.exchange.firing.fire()
        await self.exchange.send(start)

    def _range(self, first: int, last: int, total: int) -> str:
        if self._says == "wrong_start":
            return f"bytes {first + 1 if first < last else first - 1}-{last}/{total}"
        if self._says == "wrong_end":
            return f"bytes {first}-{last - 1 if first < last else last + 1}/{total}"
        return f"bytes {first}-{last}/{total + 1}" if self._says == "wrong_total" else "bytes abc-def/deadbeef"


class StatusTap(Tap):
    """For a request that was changed, and so is answered with this status."""

    def __init__(self, exchange: Exchange, status: int) -> None:
        super().__init__(exchange)
        self._status = status

    async def begin(self, start: Message) -> None:
        if start["status"] == self._status:
            self.exchange.firing.fire()
        await self.exchange.send(start)


class CorruptTap(Tap):
    def __init__(self, exchange: Exchange, fault: Corrupt) -> None:
        super().__init__(exchange)
        self.first, self.behind = fault.at, fault.at + fault.length
        self._table = bytes(one ^ fault.flip if fault.fill is None else fault.fill for one in range(256))
        self._place: int | None = None

    async def begin(self, start: Message) -> None:
        if start["status"] in (200, 206):
            span = span_of(start["headers"])
            self._place = span[0] if span else 0
        await self.exchange.send(start)

    async def carry(self, body: bytes, more: bool) -> None:
        if self._place is not None and self.has_body:
            first, behind = max(0, self.first - self._place), max(0, self.behind - self._place)
            self._place += len(body)
            other = body[:first] + body[first:behind].translate(self._table) + body[behind:]
            if other != body:
                self.exchange.firing.fire()
            body = other
        await self.pass_on(body, more)


class MirrorTap(CorruptTap):
    """A place with as many bytes: from the middle on, all are others."""

    def __init__(self, exchange: Exchange) -> None:
        super().__init__(exchange, Corrupt(at=0))

    async def begin(self, start: Message) -> None:
        span = span_of(start["headers"])
        size = span[2] if span else length_of(start["headers"]) or 0
        self.first, self.behind = size // 2, size
        await super().begin(start)


class EndlessTap(Tap):
    def __init__(self, exchange: Exchange, fault: EndlessData) -> None:
        super().__init__(exchange)
        self._length = fault.length
        self._endless = False

    async def begin(self, start: Message) -> None:
        if start["status"] in (200, 206) and self.has_body:
            self._endless = True
            start["headers"] = without(start["headers"], b"content-length")
            if self._length == "huge":
                start["headers"].append((b"content-length", b"%d" % HUGE))
            self.exchange.firing.fire()
        await self.exchange.send(start)

    async def carry(self, body: bytes, more: bool) -> None:
        if not self._endless:
            await self.pass_on(body, more)
            return
        await self.pass_on(body, True)
        while not more and not self.exchange.wire.is_gone:
            await self.pass_on(ZEROS, True)
            await asyncio.sleep(0)


def length_of(headers: Iterable[tuple[bytes, bytes]]) -> int | None:
    """Content-Length."""
    return next((int(value) for name, value in headers if name.lower() == b"content-length"), None)


def span_of(headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, int, int] | None:
    """Content-Range: first byte, last byte, size of the whole; None if there is none, or no range in it."""
    said = next((value.decode("latin-1") for name, value in headers if name.lower() == b"content-range"), "")
    found = _RANGE.fullmatch(said)
    return (int(found[1]), int(found[2]), int(found[3])) if found else None


def without(headers: Headers, *names: bytes) -> Headers:
    return [(name, value) for name, value in headers if name.lower() not in names]
