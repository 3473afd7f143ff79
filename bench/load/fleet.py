# SPDX-License-Identifier: Apache-2.0
"""Simulated devices for bench/server.py, in a process of their own: they say what real ones say, and time the answers.

Reads one JSON object from standard input (`url`, `ca`, `devices`: a list of {id, mac, token}, `key`: the key of
them all, as PEM, and what to do), prints one with the times of each kind of question in milliseconds.

    what: "polls"   every device asks once in `interval` seconds, for `seconds`, over `connections` that stay open; the
                    answers of the first `warm` seconds are not timed
    what: "fresh"   as "polls", but with a new connection, and so a new TLS handshake, for every question
    what: "herd"    all at once, as after an outage: every device connects, is let in, sends its inventory and asks
    what: "cycle"   the same, and then it downloads and reports until success
"""

from __future__ import annotations

import asyncio
import base64
import json
import ssl
import sys
import time
from collections import Counter, defaultdict
from collections.abc import Sequence
from typing import Any

import uvloop
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

ASKED = json.dumps({"device_type": "bench", "artifact_name": "old"}).encode()
PREFIX = "/api/devices/v1/deployments/device/deployments"
INTRODUCTION = "/api/devices/v1/authentication/auth_requests"
INVENTORY = "/api/devices/v1/inventory/device/attributes"
ATTRIBUTES = json.dumps([{"name": f"name{number}", "value": f"value {number}"} for number in range(25)]).encode()
STATUSES = ("downloading", "installing", "rebooting", "success")


class Line:
    """One connection, made when it is needed."""

    def __init__(self, port: int, context: ssl.SSLContext) -> None:
        self._port = port
        self._context = context
        self._reader: asyncio.StreamReader | None = None
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, method: str, path: str, headers: str, body: bytes = b"") -> tuple[int, bytes]:
        """Status and body of the answer; each of the headers ends with its line."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection(
                "127.0.0.1", self._port, ssl=self._context, server_hostname="127.0.0.1"
            )
        reader, writer = self._reader, self._writer
        assert reader is not None
        head = f"{method} {path} HTTP/1.1\r\nHost: bench\r\n{headers}"
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
        self.times: defaultdict[str, list[float]] = defaultdict(list)
        self.statuses: Counter[int] = Counter()
        self.failed = 0
        self._context = ssl.create_default_context(cafile=order["ca"])
        self._port = int(order["url"].rpartition(":")[2])
        key = serialization.load_pem_private_key(order["key"].encode(), None)
        assert isinstance(key, Ed25519PrivateKey)
        self._key = key
        pem, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        self._shown = key.public_key().public_bytes(pem, form).decode()

    def line(self) -> Line:
        return Line(self._port, self._context)

    async def ask(self, kind: str, line: Line, method: str, path: str, headers: str, body: bytes = b"") -> bytes:
        began = time.perf_counter()
        status, answer = await line.ask(method, path, headers, body)
        self.times[kind].append(time.perf_counter() - began)
        self.statuses[status] += 1
        return answer

    async def polls(self, *, fresh: bool) -> None:
        """An open loop: who is late does not make the next question later."""
        interval, seconds = self.order["interval"], self.order["seconds"]
        free: asyncio.Queue[Line] = asyncio.Queue()
        for _ in range(self.order["connections"]):
            free.put_nowait(self.line())
        began, number, running = time.perf_counter(), 0, set()
        timed = began + self.order.get("warm", 0)
        while (due := began + number * interval / len(self.devices)) < began + seconds:
            await asyncio.sleep(max(0, due - time.perf_counter()))
            device = self.devices[number % len(self.devices)]
            task = asyncio.create_task(self._poll(free, device, due, timed, fresh=fresh))
            running.add(task)
            task.add_done_callback(running.discard)
            number += 1
        await asyncio.gather(*running)

    async def _poll(
        self, free: asyncio.Queue[Line], device: dict[str, str], due: float, timed: float, *, fresh: bool
    ) -> None:
        line = await free.get()
        try:
            status, _ = await line.ask("POST", f"{PREFIX}/next", _bearer(device["token"]), ASKED)
            self.statuses[status] += 1
        except (OSError, asyncio.IncompleteReadError):
            self.failed += 1
            line.close()
        if due >= timed:
            # A question that had to wait for a line has waited for the server.
            self.times["poll"].append(time.perf_counter() - due)
        if fresh:
            line.close()
        free.put_nowait(line)

    async def all_at_once(self, *, whole: bool) -> None:
        waiting = iter(self.devices)

        async def work() -> None:
            for device in waiting:
                line = self.line()
                began = time.perf_counter()
                await self._come(line, device, whole=whole)
                self.times["device"].append(time.perf_counter() - began)
                line.close()

        await asyncio.gather(*(work() for _ in range(self.order["connections"])))

    async def _come(self, line: Line, device: dict[str, str], *, whole: bool) -> None:
        bearer = _bearer(await self._let_in(line, device))
        await self.ask("inventory", line, "PUT", INVENTORY, bearer, ATTRIBUTES)
        told = await self.ask("poll", line, "POST", f"{PREFIX}/next", bearer, ASKED)
        if whole:
            found = json.loads(told)
            uri = "/" + found["artifact"]["source"]["uri"].split("/", 3)[3]
            await self.ask("download", line, "GET", uri, "")
            for word in STATUSES:
                status = json.dumps({"status": word}).encode()
                await self.ask("status", line, "PUT", f"{PREFIX}/{found['id']}/status", bearer, status)

    async def _let_in(self, line: Line, device: dict[str, str]) -> str:
        """Its new token."""
        identity = json.dumps({"mac": device["mac"]})
        body = json.dumps({"id_data": identity, "pubkey": self._shown, "tenant_token": ""}).encode()
        signature = base64.b64encode(self._key.sign(body)).decode()
        answer = await self.ask("authentication", line, "POST", INTRODUCTION, f"X-MEN-Signature: {signature}\r\n", body)
        return answer.decode()

    def told(self, seconds: float) -> dict[str, Any]:
        return {
            "seconds": round(seconds, 1),
            "answers_a_second": round(sum(self.statuses.values()) / seconds, 1),
            "times": {kind: _spread(sorted(times)) for kind, times in self.times.items()},
            "statuses": self.statuses,
            "failed": self.failed,
        }


def _bearer(token: str) -> str:
    return f"Authorization: Bearer {token}\r\n"


def _spread(times: Sequence[float]) -> dict[str, float]:
    places = {"p50_ms": 0.5, "p99_ms": 0.99, "longest_ms": 1}
    return {name: round(times[min(len(times) - 1, int(len(times) * part))] * 1000, 2) for name, part in places.items()}


async def main() -> None:
    order = json.load(sys.stdin)
    fleet = Fleet(order)
    began = time.perf_counter()
    match order["what"]:
        case "polls" | "fresh":
            await fleet.polls(fresh=order["what"] == "fresh")
        case _:
            await fleet.all_at_once(whole=order["what"] == "cycle")
    print(json.dumps(fleet.told(time.perf_counter() - began)))


if __name__ == "__main__":
    uvloop.run(main())
