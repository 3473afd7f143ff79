# SPDX-License-Identifier: Apache-2.0
"""Idle polls of a server that is no laboratory: answered on a short way, and noticed like all others."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.protocol.conftest import DEVICE_DEPLOYMENTS, DEVICES, Device, Operator, Server

POLL = f"{DEVICE_DEPLOYMENTS}/next"
# It is about what stands before any database.
DATABASES = ("sqlite",)


@pytest.fixture(scope="module")
def server(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    server = Server(shutil.copytree(prepared, tmp_path_factory.mktemp("quick") / "server"), options=())
    server.start()
    yield server
    assert server.end(signal.SIGTERM) == 0


@pytest.fixture(scope="module")
def operator(server: Server) -> Operator:
    return Operator.logged_in(server)


def idle_polls(operator: Operator) -> float:
    told = operator.call("GET", "/metrics").text
    (line,) = [one for one in told.splitlines() if one.startswith("bootproof_idle_polls_total ")]
    return float(line.split()[1])


def request(device: Device, more: str = "") -> bytes:
    body = json.dumps({"device_type": "qemu-board", "artifact_name": "old"})
    head = f"POST {POLL} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {device.token}\r\n{more}"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()


def test_every_poll_is_counted_and_leaves_a_check_in(device: Device, operator: Operator):
    before, seen = idle_polls(operator), set()
    for _ in range(4):
        assert device.poll().status_code == 204
        seen.add(operator.get(f"{DEVICES}/{device.id}")["check_in_time"])
    assert idle_polls(operator) == before + 4
    assert len(seen) == 4


def test_requests_that_come_together_are_answered_in_their_order(device: Device, server: Server):
    assert device.poll().status_code == 204
    health = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n"
    last = request(device, "Connection: close\r\n")
    said = server.raw(request(device) + health + request(device) + request(device) + health + last, whole=True)
    answers = re.findall(rb"HTTP/1\.1 (\d+) ", said)
    assert answers == [b"204", b"200", b"204", b"204", b"200", b"204"]


def test_what_changes_for_the_device_ends_the_short_way(
    device: Device, operator: Operator, write_artifact: Callable[..., Path]
):
    assert [device.poll().status_code for _ in range(2)] == [204, 204]
    assert operator.upload(write_artifact("quick")).status_code == 201
    deployment = operator.deploy("quick", device.id)
    assert device.poll().status_code == 200
    assert device.report(deployment, "success") == 204
    assert [device.poll().status_code for _ in range(2)] == [204, 204]
    operator.decide(device.identity, "rejected")
    assert device.poll().status_code == 401


def test_a_token_that_was_changed_finds_no_way(device: Device):
    assert device.poll().status_code == 204
    device.token = device.token[:-2] + ("AA" if device.token[-2:] != "AA" else "BB")
    assert device.poll().status_code == 401


def test_who_asks_too_often_is_told_so(device: Device):
    codes = device.polls_until_refused()
    assert len(codes) > 590
    assert codes[-1] == 429
