# SPDX-License-Identifier: Apache-2.0
"""A download that begins in the middle, and links that expire before it has ended."""

from collections.abc import Iterator
from contextlib import closing

import pytest

from tests.protocol.updater_answers import BROKEN, CHUNKED, FATAL, GOOD, WHOLE, answer, download, partial, whole
from tests.protocol.updater_servers import Pauses, everything, peer
from updater.errors import ServerError


def test_a_download_may_begin_in_the_middle() -> None:
    with peer(partial(4, 2), partial(6, 4)) as server, closing(download(server.url, start=4, size=10)) as begun:
        assert (begun.place, begun.size) == (4, 10)
        assert b"".join(iter(lambda: begun.read(9), b"")) == b"efghij"
        assert begun.place == 10
    assert server.ranges == ["bytes=4-9", "bytes=6-9"]


@pytest.mark.parametrize("name", FATAL)
def test_what_is_given_must_fit_what_is_there(name: str) -> None:
    with peer(FATAL[name]) as server, pytest.raises(ServerError, match="The rest from byte 4"):
        everything(download(server.url, start=4, size=10))


def test_a_size_that_is_known_must_be_the_artifacts() -> None:
    with peer(whole(WHOLE)) as server:
        assert everything(download(server.url, size=10)) == WHOLE
    with peer(whole(WHOLE + b"k")) as server, pytest.raises(ServerError, match="had 10 bytes, and now has 11"):
        everything(download(server.url, size=10))
    with peer(CHUNKED[:-16], GOOD) as server:
        assert everything(download(server.url, size=10)) == WHOLE, "and mends what the server would not let mend"


def test_nothing_is_asked_where_nothing_is_left() -> None:
    assert everything(download("http://nowhere.invalid/", start=10, size=10)) == b""
    for start, size in ((1, None), (11, 10)):
        with pytest.raises(ValueError, match="cannot begin"):
            download("http://nowhere.invalid/", start=start, size=size)


# -- links that expire -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [403, 404, 410])
def test_an_expired_link_is_renewed(status: int) -> None:
    pauses = Pauses()
    refused = answer(f"{status} No", Content_Length="0")
    with peer(BROKEN, refused) as old, peer(GOOD) as new:
        links = iter([new.url])
        assert everything(download(old.url, pauses=pauses, relink=lambda: next(links))) == WHOLE
    assert (old.ranges, new.ranges) == (["", "bytes=4-9"], ["bytes=4-9"])
    assert pauses.slept == [1.0], "a fresh link needs no pause"


@pytest.mark.parametrize("status", [403, 404, 410])
def test_without_a_way_to_renew_it_an_expired_link_is_the_callers_affair(status: int) -> None:
    with peer(answer(f"{status} No", Content_Length="0")) as server, pytest.raises(ServerError) as refusal:
        everything(download(server.url, start=4, size=10))
    assert refusal.value.status == status


def test_a_link_is_renewed_no_more_than_three_times() -> None:
    asked: list[str] = []
    refused = answer("403 No", Content_Length="0")
    with peer(*[refused] * 9) as server:

        def relink() -> str:
            asked.append("again")
            return server.url

        with pytest.raises(ServerError) as refusal:
            everything(download(server.url, start=4, size=10, relink=relink))
    assert refusal.value.status == 403
    assert (len(asked), len(server.asked)) == (3, 4)


def test_only_what_was_good_once_is_renewed() -> None:
    for refused in (answer("404 No", Content_Length="0"), answer("500 Oh", Content_Length="0")):
        with peer(refused) as server, pytest.raises(ServerError):
            everything(download(server.url, relink=lambda: pytest.fail("it was renewed")))
    with peer(answer("500 Oh", Content_Length="0")) as server, pytest.raises(ServerError):
        everything(download(server.url, start=4, size=10, relink=lambda: pytest.fail("it was renewed")))


def test_a_renewal_that_cannot_be_had_now_is_tried_again() -> None:
    pauses = Pauses()
    refused = answer("403 No", Content_Length="0")
    with peer(refused, refused, GOOD) as server:
        answers: Iterator[ServerError | str] = iter([ServerError("The server is not there."), server.url])

        def relink() -> str:
            found = next(answers)
            if isinstance(found, ServerError):
                raise found
            return found

        assert everything(download(server.url, start=4, size=10, pauses=pauses, relink=relink)) == b"efghij"
    assert pauses.slept == [1.0]
    with peer(refused) as server:

        def denied() -> str:
            raise ServerError("No.", 401)

        with pytest.raises(ServerError) as refusal:
            everything(download(server.url, start=4, size=10, relink=denied))
    assert refusal.value.status == 401
