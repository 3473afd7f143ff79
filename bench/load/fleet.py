# SPDX-License-Identifier: Apache-2.0
"""Simulated devices for bench/server.py, in a process of their own: they say what real ones say, and time the answers.

Reads one JSON object from standard input (`url`, `ca`, `devices`: a list of {id, token}, and what to do), prints one.

    what: "polls"   every device asks once in `interval` seconds, for `seconds`, over `connections` that stay open
    what: "cycle"   every device asks, downloads, and reports until success; all at once, over `connections`
    what: "fresh"   as "polls", but with a new connection, and so a new TLS handshake, for every question
"""

from __future__ import annotations

import asyncio
import json
import ssl
import sys
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import uvloop

ASKED = json.dumps({"device_type": "bench", "artifact_name": "old"}).encode()
PREFIX = "/api/devices/v1/deployments/device/deployments"
STATUSES = ("downloading", "installing", "rebooting", "success")


class Line:
    """One connection, made when it is needed."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, token: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=self._context, server_hostname="127.0.0.1"
            )
        reader, writer = self._reader, self._writer
        assert reader is not None
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
        head += f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body)
        answer = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        size = answer.partition("content-length: ")[2].partition("\r\n")[0]
        return int(answer.split()[1]), await reader.readexactly(int(size)) if size else b""

    def close(self) -> None:
        if self._writer is not None:
            self._writer.transport.abort()
            self._reader = self._writer = None


class Fleet:
    def __init__(self, order: dict[str, Any]) -> None:
        self.order = order
        self.devices: list[dict[str, str]] = order["devices"]
        self.times: list[float] = []
        self.statuses: dict[int, int] = {}
        self.failed = 0
        self._context = ssl.create_default_context(cafile=order["ca"])
        self._port = int(order["url"].rpartition(":")[2])

    def line(self) -> Line:
        return Line(self._port, self._context)

    async def poll(self, line: Line, device: dict[str, str], *, fresh: bool = False) -> bytes:
        began = time.perf_counter()
        try:
            status, body = await line.ask("POST", f"{PREFIX}/next", device["token"], ASKED)
        except (OSError, asyncio.IncompleteReadError):
            self.failed += 1
            line.close()
            return b""
        self.times.append(time.perf_counter() - began)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if fresh:
            line.close()
        return body

    async def polls(self, *, fresh: bool) -> None:
        """An open loop: who is late does not make the next question later."""
        interval, seconds = self.order["interval"], self.order["seconds"]
        free: asyncio.Queue[Line] = asyncio.Queue()
        for _ in range(self.order["connections"]):
            free.put_nowait(self.line())
        began, number, running = time.perf_counter(), 0, set()
        while (due := began + number * interval / len(self.devices)) < began + seconds:
            await asyncio.sleep(max(0, due - time.perf_counter()))

            async def one(device: dict[str, str], due: float) -> None:
                line = await free.get()
                await self.poll(line, device, fresh=fresh)
                # A question that had to wait for a line has waited for the server.
                self.times[-1:] = [time.perf_counter() - due] if self.times else []
                free.put_nowait(line)

            task = asyncio.create_task(one(self.devices[number % len(self.devices)], due))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.gather(*running)

    async def cycles(self) -> None:
        waiting = iter(self.devices)

        async def work() -> None:
            line = self.line()
            for device in waiting:
                began = time.perf_counter()
                await self.cycle(line, device)
                self.times.append(time.perf_counter() - began)
            line.close()

        await asyncio.gather(*(work() for _ in range(self.order["connections"])))

    async def cycle(self, line: Line, device: dict[str, str]) -> None:
        token = device["token"]
        attributes = [{"name": f"name{number}", "value": f"value {number}"} for number in range(25)]
        inventory = json.dumps(attributes).encode()
        steps: list[tuple[str, str, bytes]] = [("PUT", "/api/devices/v1/inventory/device/attributes", inventory)]
        status, body = await line.ask("POST", f"{PREFIX}/next", token, ASKED)
        self.statuses[status] = self.statuses.get(status, 0) + 1
        if status == 200:
            told = json.loads(body)
            steps.append(("GET", "/" + told["artifact"]["source"]["uri"].split("/", 3)[3], b""))
            for word in STATUSES:
                steps.append(("PUT", f"{PREFIX}/{told['id']}/status", json.dumps({"status": word}).encode()))
        for method, path, content in steps:
            status, _ = await line.ask(method, path, token, content)
            self.statuses[status] = self.statuses.get(status, 0) + 1

    def told(self, seconds: float) -> dict[str, Any]:
        times = sorted(self.times)
        return {
            "asked": len(times),
            "a_second": round(len(times) / seconds, 1),
            "p50_ms": _at(times, 0.5),
            "p99_ms": _at(times, 0.99),
            "longest_ms": _at(times, 1),
            "statuses": self.statuses,
            "failed": self.failed,
        }


def _at(times: Sequence[float], part: float) -> float:
    return round(times[min(len(times) - 1, int(len(times) * part))] * 1000, 2) if times else 0


async def main() -> None:
    order = json.load(sys.stdin)
    fleet = Fleet(order)
    ways: dict[str, Callable[[], Awaitable[None]]] = {
        "polls": lambda: fleet.polls(fresh=False),
        "fresh": lambda: fleet.polls(fresh=True),
        "cycle": fleet.cycles,
    }
    began = time.perf_counter()
    await ways[order["what"]]()
    print(json.dumps(fleet.told(time.perf_counter() - began)))


if __name__ == "__main__":
    uvloop.run(main())
