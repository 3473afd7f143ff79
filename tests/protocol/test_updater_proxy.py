# SPDX-License-Identifier: Apache-2.0
"""One exchange through a forward proxy, as it stands between a factory floor and the world."""

import base64
import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field

import pytest

from tests.protocol.updater_answers import QUICK, answer, whole
from tests.protocol.updater_servers import (
    CHUNK,
    Authority,
    Handler,
    Pauses,
    everything,
    get,
    peer,
    read_request,
    silent,
    tries,
)
from updater.errors import ServerError
from updater.server.download import Download
from updater.server.http import Connector
from updater.server.line import HEAD_LIMIT

GOOD = whole(b"good")
NAME = "updates.example"  # no resolver knows it; a proxy does


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"))


@dataclass
class ForwardProxy:
    """A real one: knows where names lead, and passes bytes on."""

    port: int
    leads_to: int
    heads: list[list[str]] = field(default_factory=list)

    def url(self, user: str = "") -> str:
        return f"http://{user}127.0.0.1:{self.port}"

    def serve(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            with client, socket.create_connection(("127.0.0.1", self.leads_to)) as server:
                head = read_request(client)
                self.heads.append(head)
                method, target, version = head[0].split()
                if method == "CONNECT":
                    client.sendall(b"HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n")
                else:
                    path = "/" + target.split("/", 3)[3]
                    lines = [f"{method} {path} {version}", *head[1:], "", ""]
                    server.sendall("\r\n".join(lines).encode())
                back = threading.Thread(target=pass_on, args=(server, client))
                back.start()
                pass_on(client, server)
                back.join(10)


def pass_on(source: socket.socket, sink: socket.socket) -> None:
    with suppress(OSError):
        while data := source.recv(CHUNK):
            sink.sendall(data)
    with suppress(OSError):
        sink.shutdown(socket.SHUT_WR)


@contextmanager
def proxy_to(port: int) -> Iterator[ForwardProxy]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        made = ForwardProxy(listener.getsockname()[1], port)
        thread = threading.Thread(target=made.serve, args=(listener,), daemon=True)
        thread.start()
        yield made
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)
        assert not thread.is_alive()


def basic(words: str) -> str:
    return "Basic " + base64.b64encode(words.encode()).decode()


def test_a_server_with_tls_is_reached_through_a_tunnel(authority: Authority) -> None:
    with peer(GOOD, GOOD, tls=authority.server(NAME)) as server, proxy_to(server.port) as proxy:
        for user, words in (("", ""), ("me:p%40ss@", "me:p@ss")):
            connector = Connector(authority.certificate, environment={"https_proxy": proxy.url(user)})
            assert get(connector, f"https://{NAME}:8443/x?y") == b"good"
            head = proxy.heads[-1]
            assert head[:2] == [f"CONNECT {NAME}:8443 HTTP/1.1", f"Host: {NAME}:8443"]
            assert head[2:] == ([f"Proxy-Authorization: {basic(words)}"] if words else [])
    assert server.asked[1][0] == "GET /x?y HTTP/1.1"
    assert server.header("host", 1) == f"{NAME}:8443"
    assert server.header("proxy-authorization", 1) == "", "the server learns nothing of the proxy"


def test_the_server_behind_a_tunnel_must_be_the_right_one(authority: Authority) -> None:
    with peer(GOOD, tls=authority.server("another.example")) as server, proxy_to(server.port) as proxy:
        connector = Connector(authority.certificate, environment={"https_proxy": proxy.url()})
        with pytest.raises(ServerError, match="certificate"):
            get(connector, f"https://{NAME}/")


def test_a_download_goes_on_through_a_new_tunnel(authority: Authority) -> None:
    short = answer("200 OK", b"go", Content_Length="4")
    rest = answer("206 P", b"od", Content_Length="2", Content_Range="bytes 2-3/4")
    with peer(short, rest, tls=authority.server(NAME)) as server, proxy_to(server.port) as proxy:
        connector = Connector(authority.certificate, environment={"https_proxy": proxy.url()})
        assert everything(Download(connector, f"https://{NAME}/a", Pauses(), tries(2))) == b"good"
    assert len(proxy.heads) == 2


def test_a_server_without_tls_is_asked_by_the_proxy() -> None:
    with peer(GOOD) as server, proxy_to(server.port) as proxy:
        connector = Connector(environment={"http_proxy": proxy.url("me:secret@")})
        assert get(connector, f"http://{NAME}/x?y") == b"good"
    assert proxy.heads[0][0] == f"GET http://{NAME}/x?y HTTP/1.1"
    assert f"Proxy-Authorization: {basic('me:secret')}" in proxy.heads[0]
    assert server.header("host") == NAME


def test_the_process_environment_counts_if_no_other_is_given(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with peer(GOOD) as server, proxy_to(server.port) as proxy:
        monkeypatch.setenv("http_proxy", proxy.url())
        assert get(Connector(), f"http://{NAME}/") == b"good"
    with peer(GOOD) as server:
        assert get(Connector(), server.url) == b"good", "and this machine itself is asked directly"
    assert len(proxy.heads) == 1


@pytest.mark.parametrize(
    "refusal",
    [
        answer("407 Proxy Authentication Required", Content_Length="0"), answer("502 Oh"), b"SSH-2.0-x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n", b"", b"HTTP/1.1 200 OK\r\n" + b"a: b\r\n" * HEAD_LIMIT, silent(b"HTTP/1.1 200 OK\r\n"),
    ],
)  # fmt: skip
def test_a_proxy_that_refuses_is_a_server_that_cannot_be_reached(refusal: bytes | Handler) -> None:
    with peer(refusal) as proxy:
        environment = {"https_proxy": f"http://me:secret@127.0.0.1:{proxy.port}"}
        connector = Connector(timeout=QUICK, environment=environment)
        with pytest.raises(ServerError, match=f"The server at {NAME} did not answer") as failure:
            get(connector, f"https://{NAME}/")
    assert failure.value.status is None, "so that it is tried again"
    assert "secret" not in str(failure.value)


def test_a_proxy_that_is_gone_is_one_too(authority: Authority) -> None:
    environment = {"https_proxy": "http://127.0.0.1:1"}
    with pytest.raises(ServerError, match="did not answer"):
        get(Connector(authority.certificate, timeout=QUICK, environment=environment), f"https://{NAME}/")


def test_a_tunnel_carries_the_clients_certificate(authority: Authority) -> None:
    context = authority.server(NAME, ask_clients=True)
    assert context.verify_mode is ssl.CERT_REQUIRED
    with peer(GOOD, tls=context) as server, proxy_to(server.port) as proxy:
        environment = {"https_proxy": proxy.url()}
        connector = Connector(authority.certificate, client=authority.issue("device-4"), environment=environment)
        assert get(connector, f"https://{NAME}/") == b"good"
