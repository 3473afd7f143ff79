# SPDX-License-Identifier: Apache-2.0
"""What a stranger, a device or an operator's own file may try: none of it gets anywhere, and the server goes on."""

import gzip
import io
import json
import tarfile
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

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
    answer = server.raw(f"GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n".encode())
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
