# SPDX-License-Identifier: Apache-2.0
"""The journal: what devices asked, in the order in which they asked it. Kept in memory, the oldest forgotten.

An entry is there from the moment the request arrives: its status is null until it is answered, and its count of
bytes grows while they are sent. Bytes are counted as they are handed to the connection; what lies in the kernel's
buffers when a connection breaks is counted too.
"""

import threading
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server_stub.clock import now, stamp

CAPACITY = 10_000
WATCHED = ("/api/devices/", "/artifacts/")
SCOPE_KEY = "server_stub.journal_entry"


@dataclass(slots=True)
class Entry:
    seq: int
    time: str
    device: str | None
    method: str
    path: str
    range: str | None
    status: int | None = None
    bytes: int = 0


class Journal:
    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=CAPACITY)
        self._last = 0
        self._lock = threading.Lock()

    def begin(self, method: str, path: str, span: str | None) -> Entry:
        with self._lock:
            self._last += 1
            entry = Entry(self._last, stamp(now()), None, method, path, span)
            self._entries.append(entry)
            return entry

    def after(self, seq: int) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(entry) for entry in self._entries if entry.seq > seq]


def name_device(scope: Scope, device: str) -> None:
    """Say whose request this is, once it is known."""
    entry = scope.get(SCOPE_KEY)
    if isinstance(entry, Entry):
        entry.device = device


class JournalKeeper:
    """Around the application: sees every request of a device and every byte of its answer."""

    def __init__(self, app: ASGIApp, journal: Journal) -> None:
        self._app = app
        self._journal = journal

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or not scope["path"].startswith(WATCHED):
            await self._app(scope, receive, send)
            return
        entry = self._journal.begin(scope["method"], scope["path"], Headers(scope=scope).get("range"))
        scope[SCOPE_KEY] = entry
        has_body = scope["method"] != "HEAD"

        async def watched(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                entry.status = message["status"]
            elif has_body:
                entry.bytes += len(message.get("body", b""))

        await self._app(scope, receive, watched)
