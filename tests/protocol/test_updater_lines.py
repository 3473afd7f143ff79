# SPDX-License-Identifier: Apache-2.0
"""One exchange over lines that misbehave, with certificates, and to where redirects lead."""

import logging
import socket
import sys
from contextlib import closing
from pathlib import Path

import pexpect
import pytest

from tests.protocol.conftest import ROOT
from tests.protocol.updater_answers import QUICK, answer, whole
from tests.protocol.updater_servers import Authority, Handler, Pauses, everything, get, peer, silent, trickle, tries
from updater.errors import ServerError
from updater.server.download import Download
from updater.server.http import Connector

GOOD = whole(b"good")
NAME = "updates.example"  # no resolver knows it; a proxy does


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


# -- lines that misbehave ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "dead", [silent(), silent(b"HTTP/1.1 200"), silent(b"HTTP/1.1 200 OK\r\nContent-Le"), silent(GOOD[:-2])]
)
def test_a_line_that_goes_silent_is_given_up(dead: Handler) -> None:
    with peer(dead) as server, pytest.raises(ServerError, match="timed out") as failure:
        get(Connector(timeout=QUICK), server.url)
    assert failure.value.status is None


@pytest.mark.parametrize("scheme", ["http", "https"])
def test_a_black_hole_behind_an_established_connection(scheme: str) -> None:
    """The kernel of the other side takes the connection, and nobody ever reads from it."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        url = f"{scheme}://127.0.0.1:{listener.getsockname()[1]}/"
        with pytest.raises(ServerError, match="timed out"):
            get(Connector(timeout=QUICK), url)
        with pytest.raises(ServerError, match="timed out"):  # more than the kernels hold in between
            get(Connector(timeout=QUICK), url, bytes(32 * 1024 * 1024))


@pytest.mark.parametrize("content", [GOOD, b"HTTP/1.1 100 Continue\r\n\r\n" * 1000, answer("200 OK", b"x" * 1000)])
def test_a_server_that_trickles_for_ever_is_given_up_too(content: bytes) -> None:
    """No single pause is long."""
    with peer(trickle(content, 0.02)) as server, pytest.raises(ServerError, match=r"took too long in all|timed out"):
        get(Connector(timeout=5, exchange=0.4), server.url)


def test_a_large_body_gets_the_time_that_it_needs() -> None:
    """What is small for a server may be large for a line: a log is not given up because it takes long in all."""

    def slow(connection: socket.socket) -> None:
        connection.sendall(GOOD)

    body = bytes(3 * 1024 * 1024)
    with peer(slow) as server:
        assert get(Connector(timeout=5, exchange=0.001), server.url, body) == b"good"


def dripping(size: int, pause: float) -> Handler:
    """The head at once, and then a byte at a time."""
    head = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % size

    def handle(connection: socket.socket) -> None:
        connection.sendall(head)
        trickle(b"x" * size, pause)(connection)

    return handle


def test_a_download_that_drips_is_given_up_and_one_that_is_slow_is_not() -> None:
    """Less than any line brings, for as long as silence would be borne."""
    for pause, good in ((0.05, False), (0.002, True)):
        with peer(dripping(300, pause)) as server, closing(Connector(timeout=1).fetch(server.url, {})) as response:
            response.lift()
            read = iter(lambda found=response: found.read(1000), b"")
            if good:
                assert b"".join(read) == b"x" * 300
            else:
                with pytest.raises(ServerError, match=r"only \d+ bytes came in 1 s"):
                    b"".join(read)


@pytest.mark.parametrize(
    "garbage",
    [
        b"", b"\0" * 100, b"\x16\x03\x01\x02\x00\x01", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 abc OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n" + b"x" * 70_000, b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * 200 + b"\r\n",
        b"\x1b[31m" + b"y" * 60_000 + b"\r\n\r\n",
    ],
)  # fmt: skip
def test_what_is_no_http_is_no_answer(garbage: bytes) -> None:
    with peer(garbage) as server, pytest.raises(ServerError, match="did not answer") as failure:
        get(Connector(timeout=QUICK), server.url)
    assert failure.value.status is None
    said = str(failure.value)
    assert said.isprintable(), "what others send must not colour a console"
    assert len(said) < 300


def test_an_answer_beyond_measure_is_not_held() -> None:
    with peer(answer("200 OK", b"x" * (4 * 1024 * 1024 + 1))) as server, pytest.raises(ServerError, match="larger"):
        get(Connector(timeout=5), server.url)


def test_the_kernel_watches_the_line() -> None:
    with peer(GOOD) as server:
        response = Connector(timeout=9).open("GET", server.url, {})
        watched = response._line._socket
        assert watched.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert watched.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 9000
        assert watched.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 3
        response.close()


def test_no_connection_is_kept() -> None:
    left: list[bytes] = []

    def watch(connection: socket.socket) -> None:
        connection.sendall(GOOD)
        left.append(connection.recv(1))

    with peer(watch) as server:
        assert get(Connector(), server.url) == b"good"
    assert left == [b""]
    assert server.header("connection") == "close"


def test_a_header_cannot_become_two() -> None:
    with peer(GOOD) as server:
        Connector().open("GET", server.url, {"X-One": "a\r\nX-Two: b\0\x1b"}).whole()
    assert server.header("x-one") == "a X-Two: b"
    assert server.header("x-two") == ""
    evil = answer("200 OK", Content_Length="0", X_Evil="a\x1b[31mb\x85c")
    with peer(evil) as server:
        assert Connector().open("GET", server.url, {}).whole().headers["x-evil"] == "a [31mb c"


def test_an_address_without_names(authority: Authority) -> None:
    try:
        socket.create_server(("::1", 0), family=socket.AF_INET6).close()
    except OSError:
        pytest.skip("this machine has no IPv6 on the loopback")
    context = authority.server("::1")
    with peer(GOOD, tls=context, name="[::1]", family=socket.AF_INET6) as server:
        assert get(Connector(authority.certificate), server.url) == b"good"
    assert server.header("host") == f"[::1]:{server.port}"


def test_all_addresses_of_a_name_are_tried(monkeypatch: pytest.MonkeyPatch) -> None:
    with peer(GOOD) as server:
        known = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", ("127.0.0.1", port)) for port in (1, server.port)]
        monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: known)
        assert get(Connector(), f"http://{NAME}/") == b"good"
    assert server.header("host") == NAME


# -- certificates ------------------------------------------------------------------------------------------------------


def test_a_server_that_wants_to_know_its_clients(authority: Authority) -> None:
    client = authority.issue("device-1")
    context = authority.server("127.0.0.1", ask_clients=True)
    with peer(GOOD, GOOD, tls=context) as server:
        assert get(Connector(authority.certificate, client=client), server.url) == b"good"
        with pytest.raises(ServerError):
            get(Connector(authority.certificate, timeout=QUICK), server.url)


def test_client_certificates_of_no_use_are_said_to_be_so(authority: Authority, tmp_path: Path) -> None:
    certificate, key = authority.issue("device-2", password=b"secret")
    _, other = authority.issue("device-3")
    for pair in ((certificate, key), (certificate, other), (certificate, tmp_path / "none"), (other, other)):
        with pytest.raises(ServerError, match=r"The client certificate .* with key .* cannot be used"):
            Connector(client=pair)


def test_nobody_is_asked_for_the_password_of_a_key(authority: Authority) -> None:
    """A daemon that waits at a console for an answer would never poll again."""
    certificate, key = authority.issue("device-5", password=b"secret")
    script = "import sys, pathlib, updater.server.http as h; h.Connector(client=tuple(map(pathlib.Path, sys.argv[1:])))"
    console = pexpect.spawn(sys.executable, ["-c", script, str(certificate), str(key)], cwd=ROOT, encoding="utf-8")
    with closing(console):
        console.expect(pexpect.EOF, timeout=60)
        assert "cannot be used" in (console.before or "")
        assert "phrase" not in (console.before or "")


def test_only_trusted_servers_of_the_right_name_are_believed(authority: Authority, tmp_path: Path) -> None:
    other = Authority(tmp_path)
    for stranger in (other.server("127.0.0.1"), authority.server("127.0.0.2")):
        with peer(GOOD, tls=stranger) as server, pytest.raises(ServerError, match="certificate"):
            get(Connector(authority.certificate), server.url)


def test_without_verification_everybody_is_believed_and_that_is_said_aloud(
    authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    connector = Connector(skip_verify=True)
    with peer(GOOD, GOOD, tls=authority.server("another.example")) as server:
        assert get(connector, server.url) == get(connector, server.url) == b"good"
    [record] = caplog.records
    assert record.levelno == logging.WARNING
    assert "SkipVerify" in record.getMessage()


# -- redirects ---------------------------------------------------------------------------------------------------------


def moved(to: str, status: int = 302) -> bytes:
    return answer(f"{status} Moved", Content_Length="0", Location=to)


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_an_artifact_that_moved_is_followed(status: int) -> None:
    pauses = Pauses()
    short = answer("200 OK", b"go", Content_Length="4")
    rest = answer("206 P", b"od", Content_Length="2", Content_Range="bytes 2-3/4")
    with peer(short, rest) as there, peer(moved(there.url, status), moved(there.url, status)) as here:
        assert everything(Download(Connector(), here.url, pauses, tries(2))) == b"good"
    assert (here.ranges, there.ranges) == (["", "bytes=2-3"], ["", "bytes=2-3"]), "each try begins at the first address"


def test_redirects_may_be_relative_and_are_five_at_most() -> None:
    with peer(moved("/a/b?c"), moved("d"), *[moved("?e")] * 3, GOOD) as server:
        assert everything(Download(Connector(), server.url, Pauses(), tries(1))) == b"good"
    assert [head[0].split()[1] for head in server.asked] == [
        "/artifact",
        "/a/b?c",
        "/a/d",
        "/a/d?e",
        "/a/d?e",
        "/a/d?e",
    ]
    pauses = Pauses()
    with peer(*[moved("/")] * 6, GOOD) as server, pytest.raises(ServerError, match="more than 5 times") as refusal:
        everything(Download(Connector(), server.url, pauses, tries(9)))
    assert (refusal.value.status, pauses.slept) == (302, [])


@pytest.mark.parametrize("target", ["http://127.0.0.1:{}/", "ftp://127.0.0.1/", "file:///etc/shadow", "http://[oh"])
def test_no_redirect_gives_tls_up(target: str, authority: Authority) -> None:
    pauses = Pauses()
    secured, connector = authority.server("127.0.0.1"), Connector(authority.certificate)
    with (
        peer(GOOD) as plain,
        peer(moved(target.format(plain.port)), tls=secured) as server,
        pytest.raises(ServerError, match=r"without TLS|cannot be followed") as refusal,
    ):
        everything(Download(connector, server.url, pauses, tries(3)))
    assert (refusal.value.status, plain.asked, pauses.slept) == (302, [], [])


def test_a_call_is_not_redirected() -> None:
    with peer(moved("http://127.0.0.1:1/")) as server:
        assert Connector().open("POST", server.url, {}, b"secret").whole().status == 302
