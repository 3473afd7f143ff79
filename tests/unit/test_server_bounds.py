# SPDX-License-Identifier: Apache-2.0
"""The bodies of requests at the server's bounds: how much of them is held at once, and for how long."""

import asyncio
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

from server_stub.domain.limits import Limits
from server_stub.front.bounds import Bounds
from server_stub.services import Policy
from tests.loops import run


class Asked:
    """A request at the bounds, by hand: sends its pieces, and holds what it has sent until it is let go."""

    def __init__(self, bounds: Bounds, pieces: Iterator[bytes]) -> None:
        self._bounds = bounds
        self._pieces = pieces
        self.status = 0

    async def ask(self) -> int:
        await self._bounds({"type": "http", "path": "/", "query_string": b""}, self._receive, self._send)
        return self.status

    async def _receive(self) -> dict[str, Any]:
        await asyncio.sleep(0.001)
        piece = next(self._pieces, None)
        return {"type": "http.request", "body": piece or b"", "more_body": piece is not None}

    async def _send(self, message: Any) -> None:
        self.status = message.get("status", self.status)


def bounds_with(limits: Limits, held: asyncio.Event) -> Bounds:
    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await held.wait()
        await send({"status": 200})

    services: Any = SimpleNamespace(policy=Policy(limits=limits), guards=None)
    return Bounds(app, services)


def test_large_bodies_have_a_room_together_and_small_ones_their_own():
    async def story() -> None:
        held = asyncio.Event()
        bounds = bounds_with(Limits(bodies=200_000), held)
        first = asyncio.create_task(Asked(bounds, iter([b"x" * 200_000])).ask())
        await asyncio.sleep(0.01)
        assert await Asked(bounds, iter([b"x" * 100_000] * 2)).ask() == 503
        small = asyncio.create_task(Asked(bounds, iter([b"x" * 60_000])).ask())
        held.set()
        assert await asyncio.gather(first, small) == [200, 200]
        assert await Asked(bounds, iter([b"x" * 200_000])).ask() == 200

    run(story())


def test_a_body_that_drips_comes_to_an_end():
    drops = Asked(bounds_with(Limits(patience=0.01), asyncio.Event()), iter(lambda: b"x", None))
    assert run(drops.ask()) == 408
