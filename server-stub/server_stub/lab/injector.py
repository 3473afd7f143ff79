# SPDX-License-Identifier: Apache-2.0
"""Around the application, inside the journal: carries out what the rules say about each request of a device."""

from dataclasses import dataclass
from email.utils import format_datetime
from urllib.parse import parse_qs

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from server_stub import clock
from server_stub.domain import links, tokens
from server_stub.errors import Refusal
from server_stub.front.bounds import INTRODUCTION
from server_stub.front.quick import NEXT
from server_stub.lab import contents
from server_stub.lab.answers import (
    CorruptTap,
    CutTap,
    EndlessTap,
    Exchange,
    LengthTap,
    MirrorTap,
    RangeTap,
    SlowTap,
    StallTap,
    StatusTap,
)
from server_stub.lab.faults import (
    BODILESS,
    Answer,
    Asked,
    Clock,
    ContentRange,
    Corrupt,
    Cut,
    EndlessData,
    ExpiredLink,
    FastForward,
    Fault,
    Length,
    MaliciousMirror,
    MixAndMatch,
    Place,
    Replay,
    Slow,
    Stall,
    Unsatisfiable,
    made_of,
)
from server_stub.lab.journal import SCOPE_KEY as ENTRY_KEY
from server_stub.lab.journal import Entry, name_device
from server_stub.lab.laboratory import Firing, Laboratory
from server_stub.lab.promises import MIRROR, PromiseTap
from server_stub.lab.wire import SCOPE_KEY as WIRE_KEY
from server_stub.services import Services

# Behind the end of any artifact.
BEHIND = b"bytes=999999999999999999-"
_DOWNLOAD = "/artifacts/download/"
_DEPLOYMENTS = "/api/devices/v1/deployments/device/deployments/"
_INVENTORY = "/api/devices/v1/inventory/"
_CONTROL = "/update_control_map"


def place_of(method: str, path: str) -> Place | None:
    """What is asked for; None for what no device asks."""
    if (method, path) in NEXT:
        return Place.NEXT
    if path == INTRODUCTION:
        return Place.AUTH
    if path.startswith(_DOWNLOAD):
        return Place.DOWNLOAD
    if path.startswith(_INVENTORY):
        return Place.INVENTORY
    if path.startswith("/api/devices/") and path.endswith(_CONTROL):
        return Place.CONTROL
    if path.startswith(_DEPLOYMENTS):
        return {"status": Place.STATUS, "log": Place.LOG}.get(path.rpartition("/")[2])
    return None


class Injector:
    def __init__(self, app: ASGIApp, services: Services, laboratory: Laboratory) -> None:
        self._app = app
        self._services = services
        self._laboratory = laboratory

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        send = _dated(send)
        place = place_of(scope["method"], scope["path"])
        if place is None:
            await self._app(scope, receive, send)
            return
        entry = scope.get(ENTRY_KEY)
        app = _Mirror(self._app, entry) if _leads_to_mirror(scope) else self._app
        device = self._device(scope, place)
        firing = self._laboratory.take(Asked(place, device, _header(scope, b"range") is not None), entry)
        if firing is None:
            await app(scope, receive, send)
            return
        if device is not None:
            # The application may never hear of the request.
            name_device(scope, device)
        try:
            await self._carry_out(firing, app, scope, receive, send)
        finally:
            firing.settle()

    async def _carry_out(self, firing: Firing, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        exchange = Exchange(scope, send, scope[WIRE_KEY], firing)
        fault = made_of(firing.fault)
        match fault:
            case Answer():
                await _answer(exchange, fault, receive)
            case Cut(None):
                firing.fire()
                await exchange.wire.reset()
            case Stall(None, seconds):
                firing.fire()
                await exchange.wire.wait_gone(seconds)
                if not exchange.wire.is_gone:
                    await app(scope, receive, send)
            case ContentRange("whole") | Unsatisfiable():
                asked = None if isinstance(fault, ContentRange) else BEHIND
                await app(_ranging(scope, asked), receive, StatusTap(exchange, 200 if asked is None else 416))
            case Clock(seconds):
                firing.fire()
                await self._off_by(seconds, app, scope, receive, send)
            case MixAndMatch(payload):
                if not await self._mix(exchange, payload):
                    await app(scope, receive, send)
            case _:
                await app(scope, receive, self._tap(exchange, fault))

    async def _off_by(self, seconds: int, app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            with clock.off_by(seconds):
                await app(scope, receive, send)
        finally:
            if device := scope.get("device"):
                # Until when there is nothing for it was said by the wrong clock.
                self._services.recent.wake(device)

    async def _mix(self, exchange: Exchange, payload: str) -> bool:
        """Serve a mixed artifact if the link is good; all else is the application's to answer."""
        scope = exchange.scope
        artifact = scope["path"].removeprefix(_DOWNLOAD)
        try:
            device = links.device_of(self._services.secret, artifact, _token(scope), clock.now())
        except Refusal:
            return False
        pieces = await contents.mixed(self._services, artifact, payload)
        if pieces is None:
            return False
        name_device(scope, device)
        await contents.serve(exchange, self._services.store, pieces, _header(scope, b"range"))
        return True

    def _tap(self, exchange: Exchange, fault: Fault) -> Send:
        """What stands in the way of the answer."""
        match fault:
            case ExpiredLink() | FastForward() | MaliciousMirror() | Replay():
                return PromiseTap(exchange, fault, self._services)
            case Stall():
                return StallTap(exchange, fault)
            case Cut():
                return CutTap(exchange, fault)
            case Slow():
                return SlowTap(exchange, fault)
            case Length():
                return LengthTap(exchange, fault)
            case ContentRange():
                return RangeTap(exchange, fault)
            case Corrupt():
                return CorruptTap(exchange, fault)
            case EndlessData():
                return EndlessTap(exchange, fault)
        raise AssertionError(f"nobody carries out {fault}")

    def _device(self, scope: Scope, place: Place) -> str | None:
        """Who asks, as far as it can be known without an answer."""
        if place is Place.AUTH:
            return None
        if place is Place.DOWNLOAD:
            return _token(scope).partition(".")[0] or None
        header = _header(scope, b"authorization") or ""
        known = self._services.recent.device_of(header, clock.now().timestamp())
        if known is not None:
            return known
        try:
            return tokens.read_device(self._services.secret, header, clock.now()).device
        except Refusal:
            return None


@dataclass(frozen=True, slots=True)
class _Noted:
    """Names a fault in the journal that no rule fires for this request."""

    entry: Entry | None

    def fire(self) -> None:
        if self.entry is not None:
            self.entry.fault = MaliciousMirror.kind


@dataclass(frozen=True, slots=True)
class _Mirror:
    """The place that a malicious mirror's link leads to."""

    app: ASGIApp
    entry: Entry | None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self.app(scope, receive, MirrorTap(Exchange(scope, send, scope[WIRE_KEY], _Noted(self.entry))))


async def _answer(exchange: Exchange, fault: Answer, receive: Receive) -> None:
    # What the device sends is taken in first: a connection that is closed before that breaks under its hands.
    while (message := await receive())["type"] == "http.request" and message.get("more_body", False):
        pass
    body = fault.body.encode()
    headers = [(name.lower().encode(), value.encode()) for name, value in fault.headers.items()]
    if fault.status not in BODILESS:
        headers.append((b"content-length", b"%d" % len(body)))
    exchange.firing.fire()
    await exchange.send({"type": "http.response.start", "status": fault.status, "headers": headers})
    await exchange.send({"type": "http.response.body", "body": body})


def _dated(send: Send) -> Send:
    """Every answer with its Date: the server's own, which uvicorn adds, knows nothing of a clock that is off."""

    async def dated(message: Message) -> None:
        if message["type"] == "http.response.start":
            date = (b"date", format_datetime(clock.now(), usegmt=True).encode())
            message = {**message, "headers": [*message.get("headers", ()), date]}
        await send(message)

    return dated


def _ranging(scope: Scope, asked: bytes | None = None) -> Scope:
    """The request, had it asked for this range, or for none."""
    kept = [(name, value) for name, value in scope["headers"] if name != b"range"]
    scope["headers"] = kept if asked is None else [*kept, (b"range", asked)]
    return scope


def _header(scope: Scope, wanted: bytes) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == wanted), None)


def _token(scope: Scope) -> str:
    asked: list[str] = parse_qs(scope["query_string"].decode("latin-1")).get("token", [])
    return asked[0] if asked else ""


def _leads_to_mirror(scope: Scope) -> bool:
    return scope["path"].startswith(_DOWNLOAD) and MIRROR in scope["query_string"].decode("latin-1").split("&")
