# SPDX-License-Identifier: Apache-2.0
"""Every answer that a download may be given when it goes on, with what Mender's own tests want to come of it."""

import socket
import threading
from contextlib import closing
from types import SimpleNamespace

import pytest

from tests.protocol.updater_answers import (
    BROKEN,
    CHUNKED,
    FATAL,
    GOOD,
    PATIENT,
    WHOLE,
    Foretold,
    answer,
    download,
    partial,
    rest,
    whole,
)
from tests.protocol.updater_servers import Pauses, everything, peer, silent, tries
from updater.errors import ServerError
from updater.server import line
from updater.server.download import Download
from updater.server.http import EXCHANGE, Connector

ACCEPTED = {
    "BasicDownloadAndResume": GOOD,
    "MissingContentLength": answer("206 Partial Content", b"efghij", Content_Range="bytes 4-9/10"),
    "UnknownContentLength": rest("bytes 4-9/*"),
    "MoreThanWasAnnounced": answer("206 Partial Content", b"efghijklm", Content_Range="bytes 4-9/10"),
    "Chunked": answer(
        "206 Partial Content", b"6\r\nefghij\r\n0\r\n\r\n", Content_Range="bytes 4-9/10", Transfer_Encoding="chunked"
    ),
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_the_right_range_is_taken(name: str) -> None:
    with peer(BROKEN, ACCEPTED[name]) as server:
        assert everything(download(server.url)) == WHOLE
    assert server.ranges == ["", "bytes=4-9"]


@pytest.mark.parametrize("name", FATAL)
def test_a_wrong_range_ends_the_download(name: str) -> None:
    pauses = Pauses()
    with peer(BROKEN, FATAL[name], GOOD) as server, closing(download(server.url, pauses=pauses)) as begun:
        assert begun.read(4) == b"abcd"
        with pytest.raises(ServerError, match="The rest from byte 4 was asked for") as refusal:
            begun.read(4)
        assert refusal.value.status == int(FATAL[name].split()[1])
        assert begun.place == 4, "nothing of it was delivered"
    assert (server.ranges, pauses.slept) == (["", "bytes=4-9"], [1.0])


# -- the first answer --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("first", [whole(WHOLE), answer("200 OK", WHOLE), CHUNKED])
def test_a_whole_answer_needs_no_range(first: bytes) -> None:
    with peer(first) as server, closing(download(server.url)) as begun:
        assert b"".join(iter(lambda: begun.read(3), b"")) == WHOLE
        assert (begun.read(3), begun.place, begun.size) == (b"", 10, 10)
    assert server.ranges == [""]


@pytest.mark.parametrize("size", [1, 3, 4096])
def test_a_small_buffer_is_filled_no_more_than_it_can_hold(size: int) -> None:
    content = bytes(range(256)) * 40
    with peer(whole(content)) as server, closing(download(server.url)) as begun:
        parts = list(iter(lambda: begun.read(size), b""))
    assert b"".join(parts) == content
    assert max(map(len, parts)) <= size


def test_an_empty_artifact_ends_at_once() -> None:
    with peer(whole(b"")) as server:
        assert everything(download(server.url)) == b""


@pytest.mark.parametrize(
    "first",
    [
        *(answer("200 OK", WHOLE, Content_Length=wrong) for wrong in ("²", "-1", "1e1", "ten", "9" * 5000)),
        answer("200 OK", WHOLE, Content_Length="10\r\nContent-Length: 10"),
        rest("bytes 0-9/10", WHOLE),
        answer("201 Created", WHOLE, Content_Length="10"),
        answer("404 Not Found", Content_Length="0"),
        answer("500 Oh", Content_Length="0"),
    ],
)
def test_a_first_answer_that_is_no_artifact_is_refused(first: bytes) -> None:
    pauses = Pauses()
    with peer(first, whole(WHOLE)) as server:
        with pytest.raises(
            ServerError, match=r"answered 404|answered 500|answered 201|answered 206|200 with no usable length"
        ) as refusal:
            everything(download(server.url, pauses=pauses))
        assert refusal.value.status == int(first.split()[1])
    assert pauses.slept == []


@pytest.mark.parametrize(
    "first", [CHUNKED[:-16], answer("200 OK", b"4\r\nabcd\r\nxx\r\n", Transfer_Encoding="chunked")]
)
def test_without_a_length_a_break_cannot_be_mended(first: bytes) -> None:
    with peer(first, GOOD) as server, closing(download(server.url)) as begun:
        assert begun.read(9) == b"abcd"
        assert (begun.place, begun.size) == (4, None)
        with pytest.raises(ServerError, match="broke at byte 4 and cannot go on, because the server gave no length"):
            begun.read(9)


def test_before_the_first_byte_everything_is_asked_for_again() -> None:
    """A range from byte 0 would need a server that knows ranges."""
    pauses = Pauses()
    head = answer("200 OK", Content_Length="10")
    connector = Foretold(None, None, len(head))
    with peer(b"", head, silent(head), b"HTTP/1.1 2", b"garbage\r\n\r\n", whole(WHOLE)) as server:
        assert everything(download(server.url, pauses=pauses, connector=connector)) == WHOLE
    assert server.ranges == [""] * 6
    assert len(pauses.slept) == 5


def test_another_artifact_that_is_there_after_the_break_is_refused() -> None:
    other = whole(WHOLE + b"k")
    with (
        peer(answer("200 OK", Content_Length="10"), other) as server,
        pytest.raises(ServerError, match="had 10 bytes, and now has 11"),
    ):
        everything(download(server.url))


# -- lines that break --------------------------------------------------------------------------------------------------


def test_a_server_that_is_down_ends_it_when_the_tries_are_used_up() -> None:
    pauses = Pauses()
    with peer(BROKEN) as server:
        with pytest.raises(ServerError, match="did not answer") as refusal:
            everything(download(server.url, 4, pauses))
        assert refusal.value.status is None
    assert pauses.slept == [1.0] * 3


@pytest.mark.parametrize(("downs", "allowed", "good"), [(3, 4, True), (3, 3, False), (9, 10, True), (9, 9, False)])
def test_a_server_that_goes_down_and_up_wants_as_many_tries(downs: int, allowed: int, good: bool) -> None:
    """The tries are for the whole download: progress gives none back."""
    answers = [BROKEN, *(partial(3 + number, 1) for number in range(1, min(downs, 6))), *[b""] * (downs - 6)]
    place = 4 + len([one for one in answers if one.startswith(b"HTTP/1.1 206")])
    with peer(*answers, partial(place, 10)) as server:
        if good:
            assert everything(download(server.url, allowed)) == WHOLE
        else:
            with pytest.raises(ServerError):
                everything(download(server.url, allowed))
    assert len(server.asked) == min(downs + 1, allowed)


def test_a_line_that_goes_silent_is_a_line_that_broke() -> None:
    """Nobody says that it is broken: a box on the way that forgot the connection sends no reset."""
    pauses = Pauses()
    begun = [b"", BROKEN, b"", partial(4, 0), GOOD[:20]]
    connector = Foretold(*map(len, begun))
    with peer(*map(silent, begun), GOOD) as server:
        assert everything(download(server.url, pauses=pauses, connector=connector)) == WHOLE
    assert server.ranges == ["", "", *["bytes=4-9"] * 4]
    assert pauses.slept == [1.0] * 5


def test_bytes_that_came_before_the_silence_are_not_asked_for_again() -> None:
    begun = [BROKEN, partial(4, 3)]
    connector = Foretold(*map(len, begun))
    with peer(*map(silent, begun), partial(7, 3)) as server:
        assert everything(download(server.url, connector=connector)) == WHOLE
    assert server.ranges == ["", "bytes=4-9", "bytes=7-9"]


def test_a_slow_line_is_not_a_dead_one(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every byte takes its time, and all together longer than a small exchange may."""
    now, asked_for = [0.0], threading.Semaphore(0)
    monkeypatch.setattr(line, "time", SimpleNamespace(monotonic=lambda: now[0]))

    def slow(connection: socket.socket) -> None:
        connection.sendall(answer("200 OK", Content_Length="10"))
        for number in range(10):
            asked_for.acquire(timeout=PATIENT)
            connection.sendall(WHOLE[number : number + 1])

    pauses, content = Pauses(), b""
    with peer(slow) as server, closing(Download(Connector(timeout=PATIENT), server.url, pauses, tries(2))) as begun:
        while len(content) < len(WHOLE):
            asked_for.release()
            content += begun.read(10)
            now[0] += EXCHANGE
        assert (content, begun.read(10)) == (WHOLE, b"")
    assert (pauses.slept, len(server.asked)) == ([], 1)


def test_a_download_that_is_left_in_the_middle_leaves_nothing_open() -> None:
    gone: list[bytes] = []

    def watch(connection: socket.socket) -> None:
        connection.sendall(BROKEN)
        gone.append(connection.recv(1))

    with peer(watch) as server:
        begun = download(server.url)
        assert begun.read(2) == b"ab"
        begun.close()
        begun.close()
    assert gone == [b""]


def test_no_connection_is_open_while_it_sleeps() -> None:
    class Stopped(Exception):
        pass

    def stop() -> None:
        assert begun._response is None
        raise Stopped

    with peer(BROKEN) as server:
        begun = download(server.url, pauses=Pauses(stop))
        with pytest.raises(Stopped):
            everything(begun)


def test_an_address_that_can_be_none_is_not_tried_again() -> None:
    for address in ("http://", "ftp://storage/x", "http://a:x/"):
        pauses = Pauses()
        with pytest.raises(ServerError, match="cannot be used"):
            everything(download(address, pauses=pauses))
        assert pauses.slept == []


def test_where_a_person_is_waiting_only_a_download_that_has_begun_is_gone_on_with() -> None:
    pauses = Pauses()
    with peer(b"", GOOD) as server, pytest.raises(ServerError):
        everything(download(server.url, pauses=pauses, stubborn=False))
    assert pauses.slept == []
    with peer(BROKEN, partial(4, 6)) as server:
        assert everything(download(server.url, pauses=pauses, stubborn=False)) == WHOLE
    assert len(pauses.slept) == 1
