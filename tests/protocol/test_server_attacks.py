# SPDX-License-Identifier: Apache-2.0
"""What a stranger, a device or an operator's own file may try: none of it gets anywhere, and the server goes on."""

import asyncio
import gzip
import io
import json
import socket
import ssl
import tarfile
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from server_stub.domain.limits import Limits
from server_stub.front.bounds import Bounds
from server_stub.services import Policy
from tests.protocol.conftest import (
    ARTIFACTS,
    DEPLOYMENTS,
    DEVICE_DEPLOYMENTS,
    DEVICES,
    MANAGEMENT,
    PASSWORD,
    Device,
    Operator,
    Server,
)


@pytest.fixture(scope="module", autouse=True)
def artifact(operator: Operator, write_artifact: Callable[..., Path]) -> None:
    assert operator.upload(write_artifact("new")).status_code == 201


def raw(server: Server, *pieces: bytes, patience: float = 20) -> bytes:
    """What the server says to these bytes, until it closes the connection or has said one answer."""
    context = ssl.create_default_context(cafile=server.ca)
    port = int(server.url.rpartition(":")[2])
    with (
        socket.create_connection(("127.0.0.1", port), timeout=patience) as plain,
        context.wrap_socket(plain, server_hostname="127.0.0.1") as secured,
    ):
        try:
            for piece in pieces:
                secured.sendall(piece)
            return secured.recv(65536)
        except (ConnectionError, ssl.SSLError):
            return b""


@pytest.mark.parametrize(
    "path",
    [
        "/artifacts/download/..%2f..%2ftls%2fca.key",
        "/artifacts/download/../../tls/ca.key",
        "/artifacts/download/%2e%2e/%2e%2e/server.sqlite",
        "/static/../server.sqlite",
        "/ui/static/..%2f..%2f..%2fserver.sqlite",
        "//etc/passwd",
        "/%2e%2e/%2e%2e/etc/passwd",
    ],
)
def test_no_path_leads_to_a_file(path: str, server: Server):
    answer = raw(server, f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
    status = int(answer.split()[1])
    # Below /ui, a stranger is sent to the log-in whatever is asked for.
    assert status in (303, 400, 401, 403, 404), answer
    assert b"PRIVATE KEY" not in answer
    assert b"SQLite" not in answer


def test_what_a_client_sends_never_becomes_a_header(device: Device, operator: Operator):
    evil = "x%0d%0aSet-Cookie:%20a=b"
    for path in (f"{DEPLOYMENTS}/devices/{evil}", f"{MANAGEMENT}/inventory/devices?group={evil}"):
        answer = operator.call("GET", path)
        assert answer.status_code == 200
        assert "Set-Cookie" not in answer.headers
    made = operator.call("POST", f"{MANAGEMENT}/useradm/users", json={"name": "é", "password": PASSWORD})
    assert (made.status_code, made.headers["Location"].rpartition("/")[2]) == (201, "%C3%A9")
    operator.deploy("new", device.id)
    told = device.poll(headers={"Host": 'x"><script>'})
    assert told.status_code in (200, 400)
    assert "<script>" not in told.text


def test_a_device_sees_and_changes_nothing_of_another(accepted_device: Callable[[], Device], operator: Operator):
    mine, other = accepted_device(), accepted_device()
    deployment = operator.deploy("new", other.id)
    link = other.poll().json()["artifact"]["source"]["uri"]
    assert mine.poll().status_code == 204
    assert mine.report(deployment, "failure") == 404
    line = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "message": "mine"}
    assert mine.call("PUT", f"{DEVICE_DEPLOYMENTS}/{deployment}/log", json={"messages": [line]}).status_code == 404
    assert operator.part(deployment, other.id)["history"] == []
    # A link belongs to who was given it: with another's name in it, it is no link.
    path, _, token = link.removeprefix(mine.server.url).partition("?token=")
    forged = token.replace(other.id, mine.id)
    assert mine.server.call("GET", f"{path}?token={forged}").status_code == 403
    for method, route in [("GET", DEVICES), ("GET", ARTIFACTS), ("DELETE", f"{DEVICES}/{other.id}")]:
        assert mine.call(method, route).status_code == 401


def test_a_json_that_is_too_deep_too_long_or_too_much_is_refused(device: Device, operator: Operator):
    path = "/api/devices/v1/inventory/device/attributes"
    bodies: dict[str, bytes] = {
        "deep": b"[" * 200_000,
        "deep objects": b'{"a":' * 100_000,
        "many": json.dumps([{"name": str(number), "value": ""} for number in range(1001)]).encode(),
        "long name": json.dumps([{"name": "n" * 600, "value": ""}]).encode(),
        "huge number": b'[{"name": "n", "value": ' + b"9" * 5000 + b"}]",
        "infinite": b'[{"name": "n", "value": Infinity}]',
        "no text": b'[{"name": "n", "value": "\xff\xfe"}]',
        "lone surrogate": b'[{"name": "n", "value": "\\ud800"}]',
        "nul": b'[{"name": "n", "value": "a\\u0000b"}]',
    }
    for what, body in bodies.items():
        answer = device.call("PUT", path, data=body, headers={"Content-Type": "application/json"})
        assert answer.status_code == 400, (what, answer.text[:200])
        assert answer.json()["error"], what
    assert device.call("PUT", path, data=b" " * (1 << 21)).status_code == 413
    deployment = operator.deploy("new", device.id)
    assert device.report(deployment, "downloading", substate="x" * 1025) == 400
    assert operator.part(deployment, device.id)["history"] == []
    assert operator.call("PUT", f"{DEPLOYMENTS}/{deployment}/status", json={"status": "aborted"}).status_code == 204
    assert operator.call("POST", DEPLOYMENTS, data=b"[" * 100_000).status_code == 400
    assert device.poll().status_code == 204


def test_a_device_has_room_for_so_much(device: Device, operator: Operator):
    """Each value is a row: hundreds of thousands of them would keep all others waiting who have something to write."""
    path = "/api/devices/v1/inventory/device/attributes"
    device.tell(first="kept")
    assert device.call("PUT", path, json=[{"name": "list", "value": [""] * 5001}]).status_code == 400
    for begin, status in ((0, 200), (500, 400)):
        told = [{"name": f"n{number}", "value": "x"} for number in range(begin, begin + 500)]
        assert device.call("PATCH", path, json=told).status_code == status
        tags = f"{MANAGEMENT}/inventory/devices/{device.id}/tags"
        more = [{"name": f"t{number}", "value": "x"} for number in range(begin, begin + 501)]
        assert operator.call("PATCH", tags, json=more).status_code == status
    kept = operator.get(f"{MANAGEMENT}/inventory/devices/{device.id}")["attributes"]
    assert [sum(one["scope"] == scope for one in kept) for scope in ("inventory", "tags")] == [501, 501]


UNKEPT = {
    "too deep": '{"a":' * 300 + "1" + "}" * 300,
    "NUL": r'{"a": "\u0000"}',
    "NUL in a name": r'{"a\u0000": 1}',
    "half a character": r'{"a": ["\ud800"]}',
    "infinite": '{"a": 1e999}',
}


@pytest.mark.parametrize("what", UNKEPT)
def test_a_json_that_could_not_be_kept_or_shown_is_refused(what: str, device: Device, operator: Operator):
    """A stranger's identity must not be what the operator's list of devices breaks at."""
    json_text = UNKEPT[what]
    body = json.dumps({"id_data": json_text, "pubkey": device.pubkey()}).encode()
    assert device.authenticate(body).status_code == 400
    order = f'{{"name": "a", "artifact_name": "new", "all_devices": true, "update_control_map": {json_text}}}'
    known = f'{{"pubkey": {json.dumps(device.pubkey())}, "identity_data": {json_text}}}'
    sent = {"Authorization": f"Bearer {operator.token}", "Content-Type": "application/json"}
    for path, text in ((DEPLOYMENTS, order), (DEVICES, known)):
        assert device.server.call("POST", path, data=text, headers=sent).status_code == 400
        assert operator.call("GET", path).status_code == 200


@pytest.mark.parametrize("pattern", ["(?P<name>a)", "a{1,300}", r"\pL"])
def test_a_pattern_that_the_database_cannot_read_stands_in_no_poll(pattern: str, device: Device, operator: Operator):
    """What RE2 reads, PostgreSQL may not: then it is refused at once, wherever it would be kept or asked."""
    device.tell(os="a")
    terms = [{"scope": "inventory", "attribute": "os", "type": "$regex", "value": pattern}]
    filters = "/api/management/v2/inventory/filters"
    order = {"name": pattern, "artifact_name": "new", "filter": {"terms": terms}, "max_devices": 5}
    status = 201 if device.server.database is None else 400
    assert operator.call("POST", f"{filters}/search", json={"filters": terms}).status_code in (200, status)
    assert operator.call("POST", filters, json={"name": uuid.uuid4().hex, "terms": terms}).status_code == status
    answer = operator.call("POST", DEPLOYMENTS, json=order)
    assert answer.status_code == status, answer.text
    assert device.poll().status_code in (200, 204)
    if status == 201:
        aborted = operator.call("PUT", f"{answer.headers['Location']}/status", json={"status": "aborted"})
        assert aborted.status_code == 204


def test_more_than_a_database_takes_is_the_asker_s_mistake(operator: Operator):
    many = [""] * 200_000
    for path, asked in (
        (f"{DEVICES}/search", {"id": many}),
        (f"{DEVICES}/search", {"status": many}),
        (f"{DEVICES}/accept", {"devices": many}),
        ("/api/management/v2/inventory/filters/search", {"device_ids": many}),
    ):
        assert operator.call("POST", path, json=asked).status_code == 400
    releases = "/api/management/v2/deployments/deployments/releases?name="
    for path in (f"{DEPLOYMENTS}?search=", f"{ARTIFACTS}?name=*", f"{ARTIFACTS}?description=", releases):
        assert operator.call("GET", path + "_" * 28_000).status_code == 400


def test_a_log_is_kept_whatever_it_holds(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    line = {"timestamp": "2026-01-01T00:00:00Z", "level": "info", "message": "a\0b<script>\x1b[31m"}
    assert device.call("PUT", f"{DEVICE_DEPLOYMENTS}/{deployment}/log", json={"messages": [line]}).status_code == 204
    answer = operator.call("GET", f"{DEPLOYMENTS}/{deployment}/devices/{device.id}/log")
    assert "a\N{REPLACEMENT CHARACTER}b<script>" in answer.text
    assert answer.headers["content-type"].startswith("text/plain")
    assert answer.headers["x-content-type-options"] == "nosniff"


def test_a_header_that_unpacks_to_too_much_is_refused(operator: Operator, tmp_path: Path, write_artifact: Any):
    path = tmp_path / "bomb.mender"
    header = gzip.compress(bytes(200 << 20))
    with tarfile.open(write_artifact("head-bomb")) as source, tarfile.open(path, "w") as outer:
        for one in source.getmembers():
            data = source.extractfile(one).read()  # type: ignore[union-attr]
            if one.name.startswith("header.tar"):
                one, data = tarfile.TarInfo("header.tar.gz"), header
                one.size = len(data)
            outer.addfile(one, io.BytesIO(data))
    assert operator.upload(path).status_code == 400


def test_a_head_without_end_is_cut_off(server: Server):
    head = b"GET / HTTP/1.1\r\nHost: x\r\n"
    said = raw(server, head, *(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(200)))
    assert said.startswith(b"HTTP/1.1 4") or said == b""
    assert server.call("GET", "/healthz").status_code == 200


def test_what_follows_a_body_without_end_is_cut_off(server: Server):
    """Headers may come after the last chunk, and are kept like those before it."""
    head = b"POST /ui/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    said = raw(server, head, *(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(400)))
    assert said.startswith(b"HTTP/1.1 400") or said == b""
    assert server.call("GET", "/healthz").status_code == 200


def test_who_sends_slowly_holds_up_nobody(server: Server, device: Device):
    """Many begin a request and do not end it; others are served all the while."""
    context = ssl.create_default_context(cafile=server.ca)
    port = int(server.url.rpartition(":")[2])
    slow = []
    for _ in range(50):
        plain = socket.create_connection(("127.0.0.1", port), timeout=20)
        secured = context.wrap_socket(plain, server_hostname="127.0.0.1")
        secured.sendall(b"POST /api/devices/v1/authentication/auth_requests HTTP/1.1\r\nHost: x\r\n")
        secured.sendall(b"Content-Length: 1000\r\n\r\n{" if len(slow) % 2 else b"X-A: ")
        slow.append(secured)
    try:
        assert [device.poll().status_code for _ in range(20)] == [204] * 20
    finally:
        for one in slow:
            one.close()


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

    asyncio.run(story())


def test_a_body_that_drips_comes_to_an_end():
    drops = Asked(bounds_with(Limits(patience=0.01), asyncio.Event()), iter(lambda: b"x", None))
    assert asyncio.run(drops.ask()) == 408


def test_who_reads_slowly_holds_up_nobody(
    server: Server, operator: Operator, device: Device, write_artifact: Callable[..., Path]
):
    name = uuid.uuid4().hex
    assert operator.upload(write_artifact(name, size=30_000_000)).status_code == 201
    operator.deploy(name, device.id)
    link = device.poll().json()["artifact"]["source"]["uri"].removeprefix(server.url)
    streams = [server.http.get(server.url + link, stream=True, timeout=20) for _ in range(8)]
    try:
        assert all(len(one.raw.read(1000)) == 1000 for one in streams)
        assert [device.poll().status_code for _ in range(20)] == [200] * 20
    finally:
        for one in streams:
            one.close()


def test_too_many_questions_are_too_many(accepted_device: Callable[[], Device]):
    device = accepted_device()
    # The count begins anew each minute, which may fall into this.
    codes = [204]
    while codes[-1] == 204 and len(codes) < 1300:
        codes.append(device.poll().status_code)
    assert len(codes) > 590
    assert codes[-1] == 429
    assert set(codes[:-1]) == {204}
