# SPDX-License-Identifier: Apache-2.0
"""Our updater's client against a real server that does wrong: what arrives is whole, or is refused with a reason."""

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.conftest import Device
from tests.protocol.faulty import Faulty, faulty
from tests.protocol.test_server_faults import rule
from tests.protocol.updater_answers import QUICK
from tests.protocol.updater_servers import Pauses, everything, tries
from updater.artifact import ArtifactError, read_artifact
from updater.errors import ServerError
from updater.server.credentials import AuthRequest
from updater.server.download import Download
from updater.server.http import Connector
from updater.server.session import Session

PROVIDES = {"artifact_name": "old"}
TYPE = "qemu-board"


@pytest.fixture(scope="module")
def running(
    prepared: Path, tmp_path_factory: pytest.TempPathFactory, write_artifact: Callable[..., Path]
) -> Iterator[Faulty]:
    with faulty(prepared, tmp_path_factory.mktemp("updater"), write_artifact) as made:
        yield made


@pytest.fixture
def lab(running: Faulty) -> Iterator[Faulty]:
    yield running
    running.heal()


class Kept:
    """The credentials of a device that is let in already."""

    def __init__(self, device: Device) -> None:
        self._device = device

    def request(self) -> AuthRequest:
        body = json.dumps({"id_data": json.dumps(self._device.identity), "pubkey": self._device.pubkey()})
        return AuthRequest(body, self._device.sign(body.encode()))

    def refused(self) -> None:
        pass


def session(lab: Faulty, device: Device, connector: Connector | None = None) -> Session:
    connector = connector or Connector(Path(lab.server.ca))
    return Session(lab.server.url, connector, Kept(device))  # type: ignore[arg-type]


def download(lab: Faulty, uri: str, number: int = 5, timeout: float = 60.0, **more: Any) -> Download:
    return Download(Connector(Path(lab.server.ca), timeout), uri, Pauses(), tries(number), **more)


# -- the session -------------------------------------------------------------------------------------------------------


def test_a_server_that_is_overloaded_says_when_to_come_back(lab: Faulty) -> None:
    device, _, name = lab.promised()
    asks = session(lab, device)
    lab.inject(rule("answer", status=503, headers={"Retry-After": "7"}, where="next", times=2))
    for _ in range(2):
        with pytest.raises(ServerError) as failure:
            asks.next_deployment(PROVIDES, TYPE)
        assert (failure.value.status, failure.value.retry_after) == (503, 7)
    found = asks.next_deployment(PROVIDES, TYPE)
    assert found is not None
    assert found.artifact_name == name
    assert lab.fired() == [2]


@pytest.mark.parametrize(
    "fault",
    [
        rule("cut", times=1),
        rule("cut", after=20, where="next", times=1),
        rule("length", off_by=10, where="next", times=1),
        rule("length", off_by=-10, where="next", times=1),
        rule("answer", status=200, body="{", where="next", times=1),
        rule("answer", status=200, body="[]", where="next", times=1),
        rule("certificate", shows="expired", times=1),
        rule("certificate", shows="not_yet_valid", times=1),
        rule("certificate", shows="other_name", times=1),
        rule("certificate", shows="unknown_authority", times=1),
        rule("certificate", shows="self_signed", times=1),
    ],
    ids=str,
)
def test_what_is_no_answer_is_an_error_and_the_next_call_succeeds(lab: Faulty, fault: dict[str, Any]) -> None:
    device, _, name = lab.promised()
    asks = session(lab, device)
    lab.inject(fault)
    with pytest.raises(ServerError):
        asks.next_deployment(PROVIDES, TYPE)
    assert lab.fired() == [1]
    found = asks.next_deployment(PROVIDES, TYPE)
    assert found is not None
    assert found.artifact_name == name


def test_a_silent_server_is_given_up(lab: Faulty) -> None:
    device, _, _ = lab.promised()
    lab.inject(rule("stall", where="next"))
    with pytest.raises(ServerError, match="timed out"):
        session(lab, device, Connector(Path(lab.server.ca), QUICK)).next_deployment(PROVIDES, TYPE)
    assert lab.fired() == [1]


def test_a_token_that_has_expired_is_renewed(lab: Faulty) -> None:
    device, _, name = lab.promised()
    asks = session(lab, device)
    asks.send_inventory({"device_type": TYPE})
    lab.inject(rule("clock", off_by=8 * 86_400))
    found = asks.next_deployment(PROVIDES, TYPE)
    assert found is not None
    assert found.artifact_name == name


# -- the download ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "faults",
    [
        [rule("cut", after=5_000, times=3)],
        [rule("cut", times=2)],
        [rule("cut", after=0, times=1), rule("cut", after=7, times=2)],
        [rule("slow", bytes_per_second=500_000)],
        [rule("stall", after=9_000, seconds=0.2)],
    ],
    ids=str,
)
def test_an_artifact_arrives_whole_over_a_line_that_breaks(lab: Faulty, faults: list[dict[str, Any]]) -> None:
    uri, whole = lab.link()
    lab.inject(*faults)
    assert everything(download(lab, uri)) == whole
    assert all(lab.fired())


def test_a_download_that_falls_silent_goes_on(lab: Faulty) -> None:
    uri, whole = lab.link()
    lab.inject(rule("stall", after=5_000, times=1))
    assert everything(download(lab, uri, timeout=1.0)) == whole
    assert lab.fired() == [1]


@pytest.mark.parametrize("says", ["wrong_start", "wrong_end", "wrong_total", "missing", "garbled", "whole"])
def test_a_wrong_range_ends_the_download(lab: Faulty, says: str) -> None:
    uri, _ = lab.link()
    lab.inject(rule("cut", after=5_000, times=1), rule("content_range", says=says))
    with pytest.raises(ServerError, match="The rest from byte 5000 was asked for"):
        everything(download(lab, uri))
    assert lab.fired() == [1, 1]


def test_a_range_that_cannot_be_satisfied_ends_the_download(lab: Faulty) -> None:
    uri, _ = lab.link()
    lab.inject(rule("cut", after=5_000, times=1), rule("unsatisfiable"))
    with pytest.raises(ServerError) as failure:
        everything(download(lab, uri))
    assert failure.value.status == 416
    assert lab.fired() == [1, 1]


@pytest.mark.parametrize("off_by", [50, -50])
def test_a_length_that_is_a_lie_ends_the_download(lab: Faulty, off_by: int) -> None:
    """What was promised and never came is asked for in vain; what came behind the end is not taken."""
    uri, _ = lab.link()
    lab.inject(rule("length", off_by=off_by, times=1))
    with pytest.raises((ServerError, ArtifactError)):
        unpack(lab, uri)
    assert lab.fired() == [1]


def test_an_expired_link_is_renewed_in_the_download(lab: Faulty) -> None:
    device, artifact, _ = lab.promised()
    asks = session(lab, device)
    lab.inject(rule("expired_link", times=1))

    def relink() -> str:
        found = asks.next_deployment(PROVIDES, TYPE)
        assert found is not None
        return found.uri

    assert everything(download(lab, relink(), relink=relink, eager=True)) == lab.artifacts[artifact]
    assert lab.fired() == [1]


# -- what is in it -----------------------------------------------------------------------------------------------------


def unpack(lab: Faulty, uri: str, **more: Any) -> str:
    """Read an artifact as it comes; its name."""
    stream = download(lab, uri, **more)
    try:
        artifact = read_artifact(stream)
        for file in artifact.files():
            file.drain()
        return artifact.name
    finally:
        stream.close()


@pytest.mark.parametrize("at", [0, 512, 2_000, 15_000, 20_000])
def test_a_corrupted_artifact_is_noticed(lab: Faulty, at: int) -> None:
    uri, _ = lab.link()
    lab.inject(rule("corrupt", at=at, length=64))
    with pytest.raises(ArtifactError):
        unpack(lab, uri)
    assert lab.fired() == [1]


def test_an_artifact_of_two_halves_is_noticed(lab: Faulty) -> None:
    other = lab.upload(f"other-{uuid.uuid4().hex}")
    uri, _ = lab.link()
    lab.inject(rule("mix_and_match", artifact=other))
    with pytest.raises(ArtifactError, match=r"checksum|manifest"):
        unpack(lab, uri)


def test_a_mirror_that_changes_between_two_ranges_is_noticed(lab: Faulty) -> None:
    """The first half comes from the promised artifact, the rest from another of the same size."""
    other = lab.upload(f"other-{uuid.uuid4().hex}")
    uri, whole = lab.link()
    lab.inject(rule("cut", after=len(whole) - 5_000, times=1), rule("mix_and_match", artifact=other))
    with pytest.raises((ArtifactError, ServerError)):
        unpack(lab, uri)
    assert lab.fired() == [1, 1]


@pytest.mark.parametrize("length", ["missing", "huge"])
def test_endless_data_is_refused(lab: Faulty, length: str) -> None:
    uri, _ = lab.link()
    lab.inject(rule("endless_data", length=length))
    with pytest.raises(ArtifactError, match="zero bytes after its end"):
        unpack(lab, uri)
    assert lab.fired() == [1]


def test_a_download_that_hardly_comes_is_given_up(lab: Faulty) -> None:
    uri, _ = lab.link()
    lab.inject(rule("slow_retrieval", bytes_per_second=20))
    with pytest.raises(ServerError, match=r"bytes came in|timed out"):
        everything(download(lab, uri, number=1, timeout=1.0))
    assert lab.fired() == [1]
