# SPDX-License-Identifier: Apache-2.0
"""The download from the real server: whole, resumed after breaks, begun in the middle."""

import json
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from harness.faults.network import Relay
from tests.protocol.conftest import DEVICE_TYPE, MANAGEMENT, Operator, Server
from tests.protocol.updater_answers import answer, whole
from tests.protocol.updater_servers import CHUNK, Pauses, everything, peer, tries
from updater.errors import ServerError
from updater.server.credentials import Credentials
from updater.server.download import Download
from updater.server.http import Connector
from updater.server.session import Session

# It is about the client, which sees no database.
DATABASES = ("sqlite",)
SIZE = 2_000_000


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


def test_the_rest_of_an_artifact_under_a_fresh_link(
    server: Server, operator: Operator, uri: str, uploaded: bytes
) -> None:
    """As after a reboot, with what was kept of the day before."""
    before, size = last_call(operator), len(uploaded)
    old = uri.partition("?")[0]
    download = Download(
        Connector(Path(server.ca)), old, Pauses(), tries(1), start=1_234_567, size=size, relink=lambda: uri
    )
    assert everything(download) == uploaded[1_234_567:]
    assert [span for span, _ in ranges(operator, before)] == [f"bytes=1234567-{size - 1}"] * 2
    assert [status for _, status in ranges(operator, before)][1] == 206


@pytest.mark.parametrize(
    "address", ["http://[oh", "http://127.0.0.1:99999/x", "http://127.0.0.1:1/a b", "http:///x", ""]
)
def test_an_address_of_no_use_is_an_error_and_not_a_crash(address: str) -> None:
    with pytest.raises(ServerError):
        Download(Connector(), address, Pauses(), tries(1)).read(1)


def test_an_answer_that_ends_too_early_is_no_answer() -> None:
    with peer(answer("200 OK", b'{"id": "d"', Content_Length="100")) as short:
        response = Connector().open("GET", short.url, {})
        with pytest.raises(ServerError, match="in the middle of an answer"):
            response.whole()
    with peer(whole(b"whole")) as good:
        assert Connector().open("GET", good.url, {}).whole().body == b"whole"
