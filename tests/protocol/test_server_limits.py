# SPDX-License-Identifier: Apache-2.0
"""Who sends too much, too slowly or too often: cut off, and nobody else waits for it."""

import socket
import ssl
import uuid
from collections.abc import Callable
from pathlib import Path

from tests.protocol.conftest import Device, Operator, Server


def test_a_head_without_end_is_cut_off(server: Server):
    head = b"GET / HTTP/1.1\r\nHost: x\r\n"
    said = server.raw(head, *(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(200)))
    assert said.startswith(b"HTTP/1.1 4") or said == b""
    assert server.call("GET", "/healthz").status_code == 200


def test_what_follows_a_body_without_end_is_cut_off(server: Server):
    """Headers may come after the last chunk, and are kept like those before it."""
    head = b"POST /ui/login HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    said = server.raw(head, *(b"X-%d: %s\r\n" % (number, b"a" * 1000) for number in range(400)))
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
    codes = device.polls_until_refused()
    assert len(codes) > 590
    assert codes[-1] == 429
    assert set(codes[:-1]) == {204}
