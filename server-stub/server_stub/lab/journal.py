# SPDX-License-Identifier: Apache-2.0
"""The journal: what devices asked, in the order in which they asked it. Kept in memory, the oldest forgotten.

An entry is there from the moment the request arrives: its status is null until it is answered, and its count of
bytes grows while they are sent. Bytes are counted as they are handed to the connection; what lies in the kernel's
buffers when a connection breaks is counted too.
"""

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server_stub.clock import now, stamp

CAPACITY = 10_000
WATCHED = ("/api/devices/", "/artifacts/")
SCOPE_KEY = "server_stub.journal_entry"
# What nobody but the device may know.
SECRET_HEADERS = frozenset({"authorization", "cookie", "x-men-signature"})


@dataclass(slots=True)
class Entry:
    seq: int
    time: str
    device: str | None
    method: str
    path: str
    range: str | None
    headers: dict[str, str] = field(default_factory=dict)
    status: int | None = None
    bytes: int = 0
    answer: dict[str, str] = field(default_factory=dict)
    fault: str | None = None


class Journal:
    def __init__(self) -> None:
        self._entries: deque[Entry] = deque(maxlen=CAPACITY)
        self._last = 0
        self._lock = threading.Lock()

    def begin(self, method: str, path: str, headers: dict[str, str]) -> Entry:
        with self._lock:
            self._last += 1
            entry = Entry(self._last, stamp(now()), None, method, path, headers.get("range"), headers)
            self._entries.append(entry)
            return entry

    def after(self, seq: int) -> list[dict[str, Any]]:
        with self._lock:
            return [asdict(entry) for entry in self._entries if entry.seq > seq]


def name_device(scope: Scope, device: str) -> None:
    """Say whose request this is, once it is known."""
    scope["device"] = device
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
        entry = self._journal.begin(scope["method"], scope["path"], _readable(scope["headers"]))
        scope[SCOPE_KEY] = entry
        has_body = scope["method"] != "HEAD"

        async def watched(message: Message) -> None:
            await send(message)
            if message["type"] == "http.response.start":
                entry.status = message["status"]
                entry.answer = _readable(message["headers"])
            elif has_body:
                entry.bytes += len(message.get("body", b""))

        await self._app(scope, receive, watched)


def _readable(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers as texts, without those that are secrets."""
    texts = ((name.decode("latin-1").lower(), value.decode("latin-1")) for name, value in headers)
    return {name: "…" if name in SECRET_HEADERS else value for name, value in texts}
