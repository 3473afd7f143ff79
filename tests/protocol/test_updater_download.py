# SPDX-License-Identifier: Apache-2.0
"""The download: whole, resumed after breaks, and refused when the answers do not fit together."""

import json
import socket
import threading
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest

from harness.faults.network import Relay
from tests.protocol.conftest import DEVICE_TYPE, MANAGEMENT, Operator, Server
from updater.errors import ServerError
from updater.server.credentials import Credentials
from updater.server.download import Download
from updater.server.http import Connector
from updater.server.session import Session

SIZE = 2_000_000
CHUNK = 65536


def tries(number: int, pause: float = 1.0) -> Iterator[float]:
    """The pauses between so many tries."""
    return iter([pause] * (number - 1))


class Pauses:
    """A clock whose pauses take no time; `then` happens in each."""

    def __init__(self, then: Callable[[], None] = lambda: None) -> None:
        self.slept: list[float] = []
        self.then = then

    def now(self) -> float:
        return 0.0

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.then()


def everything(download: Download) -> bytes:
    with closing(download):
        return b"".join(iter(lambda: download.read(CHUNK), b""))


@pytest.fixture(scope="module")
def uploaded(operator: Operator, write_artifact: Callable[..., Path]) -> bytes:
    path = write_artifact("large", size=SIZE)
    assert operator.upload(path).status_code == 201
    return path.read_bytes()


@pytest.fixture
def uri(server: Server, operator: Operator, uploaded: bytes, tmp_path: Path) -> str:
    assert uploaded
    identity = {"mac": uuid.uuid4().hex}
    session = Session(server.url, Connector(Path(server.ca)), Credentials(tmp_path, json.dumps(identity)))
    with pytest.raises(ServerError):
        session.next_deployment({}, DEVICE_TYPE)
    operator.decide(identity, "accepted")
    operator.deploy("large", operator.device(identity)["id"])
    found = session.next_deployment({"artifact_name": "old"}, DEVICE_TYPE)
    assert found
    return found.uri


@pytest.fixture
def relay(server: Server) -> Iterator[Relay]:
    relay = Relay(int(server.url.rpartition(":")[2]))
    yield relay
    relay.close()


def through(relay: Relay, uri: str, server: Server) -> str:
    return uri.replace(server.url, f"https://{server.url.split('/')[2].partition(':')[0]}:{relay.port}")


def ranges(operator: Operator, after: int) -> list[tuple[str | None, int]]:
    journal: list[dict[str, Any]] = operator.get(f"{MANAGEMENT}/lab/journal?after={after}")
    return [(one["range"], one["status"]) for one in journal if one["path"].startswith("/artifacts/")]


def last_call(operator: Operator) -> int:
    return int(operator.get(f"{MANAGEMENT}/lab/journal")[-1]["seq"])


def test_the_whole_artifact(server: Server, operator: Operator, uri: str, uploaded: bytes) -> None:
    before, pauses = last_call(operator), Pauses()
    assert everything(Download(Connector(Path(server.ca)), uri, pauses, tries(10))) == uploaded
    assert ranges(operator, before) == [(None, 200)]
    assert pauses.slept == []


def test_broken_connections_are_resumed_where_they_broke(
    server: Server, operator: Operator, uri: str, uploaded: bytes, relay: Relay
) -> None:
    before = last_call(operator)
    breaks = iter((500_000, 200_000))

    def mend() -> None:
        relay.heal()
        following = next(breaks, None)
        if following:
            relay.break_after(following)

    pauses = Pauses(mend)
    relay.break_after(700_000)
    download = Download(Connector(Path(server.ca)), through(relay, uri, server), pauses, tries(10, 7.0))
    taken: list[int] = []
    with closing(download):
        content = bytearray()
        while chunk := download.read(CHUNK):
            taken.append(len(content))
            content += chunk
    assert content == uploaded
    assert pauses.slept == [7.0, 7.0, 7.0]
    first, *others = ranges(operator, before)
    assert first == (None, 200)
    assert len(others) == 3
    asked = [int(str(span).removeprefix("bytes=").partition("-")[0]) for span, _ in others]
    assert all(status == 206 and str(span).endswith(f"-{len(uploaded) - 1}") for span, status in others)
    assert 0 < asked[0] < asked[1] < asked[2]
    assert set(asked) <= set(taken), "each range begins with the first byte that was not delivered"


def test_it_gives_up_after_so_many_tries(server: Server, uri: str, relay: Relay) -> None:
    pauses = Pauses()
    relay.break_after(100_000)
    download = Download(Connector(Path(server.ca)), through(relay, uri, server), pauses, tries(4))
    with pytest.raises(ServerError, match=r"did not answer|broke"):
        everything(download)
    assert len(pauses.slept) == 3
    assert relay.broke.is_set()


def test_an_address_that_is_not_permitted_is_not_tried_again(server: Server, uri: str) -> None:
    pauses = Pauses()
    with pytest.raises(ServerError) as refusal:
        everything(Download(Connector(Path(server.ca)), uri.partition("?")[0], pauses, tries(10)))
    assert refusal.value.status is not None
    assert pauses.slept == []


@contextmanager
def scripted(*answers: bytes) -> Iterator[tuple[str, list[str]]]:
    """A server that gives one answer to each connection and hangs up; gives its address and the ranges asked for."""
    asked: list[str] = []

    def serve(listener: socket.socket) -> None:
        for answer in answers:
            connection, _ = listener.accept()
            with connection, connection.makefile("rb") as lines:
                head = [line.decode().strip() for line in iter(lines.readline, b"\r\n")]
                # What is left unread would make a reset of the hanging up.
                lines.read(sum(int(line.split(":")[1]) for line in head if line.lower().startswith("content-length:")))
                asked.append("".join(line for line in head if line.lower().startswith("range:")))
                connection.sendall(answer)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}/artifact", asked
        thread.join(10)
        assert not thread.is_alive()


def answer(status: str, body: bytes, **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode() + body


BROKEN = answer("200 OK", b"abcd", Content_Length="10")


def rest(span: str, body: bytes = b"efghij", status: str = "206 Partial Content") -> bytes:
    return answer(status, body, Content_Length=str(len(body)), **({"Content_Range": span} if span else {}))


@pytest.mark.parametrize("span", ["bytes 4-9/10", "bytes 4-9/*"])
def test_the_right_range_is_taken(span: str) -> None:
    with scripted(BROKEN, rest(span)) as (address, asked):
        assert everything(Download(Connector(), address, Pauses(), tries(10))) == b"abcdefghij"
    assert asked == ["", "Range: bytes=4-9"]


@pytest.mark.parametrize(
    "wrong",
    [
        answer("200 OK", b"abcdefghij", Content_Length="10"),
        rest("bytes 4-9/10", status="200 OK"),
        rest("bytes 3-9/10", b"defghij"),
        rest("bytes 5-9/10", b"fghij"),
        rest("bytes 4-8/10", b"efghi"),
        rest("bytes 4-9/11"),
        rest("4-9/10"),
        rest("bytes 4-9"),
        rest("bytes */10"),
        rest(""),
        answer("416 Range Not Satisfiable", b"", Content_Length="0", Content_Range="bytes */10"),
        answer("404 Not Found", b"", Content_Length="0"),
    ],
)
def test_a_wrong_range_ends_the_download(wrong: bytes) -> None:
    pauses = Pauses()
    with scripted(BROKEN, wrong) as (address, asked):
        download = Download(Connector(), address, pauses, tries(10))
        assert download.read(4) == b"abcd"
        with pytest.raises(ServerError, match="The rest from byte 4 was asked for") as refusal:
            everything(download)
    assert refusal.value.status in (200, 206, 404, 416)
    assert (asked, pauses.slept) == (["", "Range: bytes=4-9"], [1.0])


@pytest.mark.parametrize(
    "first",
    [
        answer("200 OK", b"abcd"),
        answer("200 OK", b"abcd", Content_Length="²"),
        answer("200 OK", b"4\r\nabcd\r\n0\r\n\r\n", Transfer_Encoding="chunked"),
        answer("206 Partial Content", b"abcd", Content_Length="4", Content_Range="bytes 0-3/4"),
        answer("302 Found", b"", Content_Length="0", Location="http://127.0.0.1/"),
        answer("500 Oh", b"", Content_Length="0"),
    ],
)
def test_a_first_answer_without_all_of_it_is_refused(first: bytes) -> None:
    with scripted(first) as (address, _), pytest.raises(ServerError, match="with no usable length"):
        everything(Download(Connector(), address, Pauses(), tries(10)))


def test_the_tries_are_for_the_whole_download() -> None:
    """Progress gives none back."""
    answers = [BROKEN, *(answer("206 P", b"x", Content_Length="9", Content_Range=f"bytes {n}-9/10") for n in (4, 5))]
    with scripted(*answers) as (address, asked):
        download = Download(Connector(), address, Pauses(), tries(3))
        with pytest.raises(ServerError):
            everything(download)
    assert asked == ["", "Range: bytes=4-9", "Range: bytes=5-9"]


@pytest.mark.parametrize(
    "address", ["http://[oh", "http://127.0.0.1:99999/x", "http://127.0.0.1:1/a b", "http:///x", ""]
)
def test_an_address_of_no_use_is_an_error_and_not_a_crash(address: str) -> None:
    with pytest.raises(ServerError):
        Download(Connector(), address, Pauses(), tries(1)).read(1)


def test_an_answer_that_ends_too_early_is_no_answer() -> None:
    with scripted(answer("200 OK", b'{"id": "d"', Content_Length="100")) as (address, _):
        response = Connector().open("GET", address, {})
        with pytest.raises(ServerError, match="in the middle of an answer"):
            response.whole()
    with scripted(answer("200 OK", b"whole", Content_Length="5")) as (address, _):
        assert Connector().open("GET", address, {}).whole().body == b"whole"


def test_servers_without_the_newer_route_are_asked_the_old_way(tmp_path: Path) -> None:
    asked: list[str] = []

    class OldServer(Connector):
        def open(self, method: str, url: str, headers: Any, body: bytes | None = None) -> Any:
            asked.append(f"{method} {url}")
            status = 404 if "/v2/" in url else 204 if "next" in url else 200
            with scripted(answer(f"{status} X", b"token" if status == 200 else b"")) as (address, _):
                return super().open(method, address, headers, body)

    session = Session("http://old", OldServer(), Credentials(tmp_path, "{}"))
    assert session.next_deployment({"artifact_name": "a b&c"}, "d+e") is None
    assert asked[-1] == (
        "GET http://old/api/devices/v1/deployments/device/deployments/next?artifact_name=a+b%26c&device_type=d%2Be"
    )
