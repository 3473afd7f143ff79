# SPDX-License-Identifier: Apache-2.0
"""The page without a browser: who is let in, what a hostile name becomes, and what no other page may make it do."""

import json
import re
import shutil
import signal
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from sqlalchemy import delete, insert

from server_stub.domain.inventory import Scope
from server_stub.storage.database import Database, read_url, sqlite_at
from server_stub.storage.schema import attributes
from server_stub.storage.search import MOST_MENTIONS
from server_stub.web import words
from server_stub.web.session import local_path
from tests.protocol.conftest import DEVICE_DEPLOYMENTS, MANAGEMENT, PASSWORD, Device, Operator, Server, make_key

EVIL = "<script>alert(1)</script>\"'><img src=x>"
INVENTORY = "/api/devices/v1/inventory/device/attributes"
HERE = {"Sec-Fetch-Site": "same-origin"}
ROLES = ("read-only", "deployer", "admin")


class Visitor:
    """What a browser does, one step at a time."""

    def __init__(self, server: Server, name: str = "operator") -> None:
        self.server = server
        self.http = requests.Session()
        self.http.verify = server.ca
        self.http.trust_env = False
        answer = self.post("/ui/login", {"name": name, "password": PASSWORD}, **HERE)
        assert (answer.status_code, answer.headers["Location"]) == (303, "/")

    def get(self, path: str) -> requests.Response:
        return self.http.get(self.server.url + path, allow_redirects=False, timeout=30)

    def post(self, path: str, form: dict[str, str], **headers: str) -> requests.Response:
        return self.http.post(self.server.url + path, form, headers=headers, allow_redirects=False, timeout=30)

    def call(self, method: str, path: str, body: object, **headers: str) -> requests.Response:
        return self.http.request(method, self.server.url + path, json=body, headers=headers, timeout=30)


@pytest.fixture
def visitor(server: Server) -> Iterator[Visitor]:
    visitor = Visitor(server)
    yield visitor
    visitor.http.close()


@pytest.fixture(scope="module")
def roles(operator: Operator) -> None:
    for role in ROLES:
        body = {"name": role, "password": PASSWORD, "role": role}
        assert operator.call("POST", f"{MANAGEMENT}/useradm/users", json=body).status_code == 201


@pytest.fixture
def page_paths(operator: Operator, device: Device, write_artifact: Callable[..., Path]) -> list[str]:
    """A page of every kind, all of which have something to show."""
    answer = operator.upload(write_artifact(f"shown-{device.id}"))
    artifact = answer.headers["Location"].rpartition("/")[2]
    deployment = operator.deploy(f"shown-{device.id}", device.id)
    assert device.poll().status_code == 200
    assert device.report(deployment, "failure") == 204
    log = {"messages": [{"timestamp": "2026-01-31T12:00:00Z", "level": "error", "message": EVIL}]}
    assert device.call("PUT", f"{DEVICE_DEPLOYMENTS}/{deployment}/log", json=log).status_code == 204
    return [
        "/",
        "/ui/devices",
        f"/ui/devices/{device.id}",
        "/ui/artifacts",
        f"/ui/artifacts/{artifact}",
        "/ui/deployments",
        f"/ui/deployments/{deployment}",
        f"/ui/deployments/{deployment}/devices/{device.id}/log",
    ]


@pytest.mark.parametrize("encoding", ["punycode", "unicode_escape", "utf-8"])
def test_a_log_in_in_an_encoding_of_its_own_is_not_even_read(encoding: str, server: Server):
    """Some take for ever to read, some make what cannot be kept."""
    head = 'Content-Disposition: form-data; name="{}"\r\n\r\n'
    parts = "".join(f"--b\r\n{head.format(name)}\\ud800-a\r\n" for name in ("name", "password"))
    sent = {"Content-Type": f"multipart/form-data; boundary=b; charset={encoding}", **HERE}
    answer = server.call("POST", "/ui/login", data=parts + "--b--\r\n", headers=sent)
    assert answer.status_code == 400, answer.text


def test_every_page_needs_a_log_in_and_is_found_again_after_it(server: Server, visitor: Visitor, page_paths: list[str]):
    for path in page_paths:
        assert visitor.get(path).status_code == 200
        away = server.call("GET", path, allow_redirects=False)
        assert away.status_code == 303
        after = "" if path == "/" else f"?next={path.replace('/', '%2F')}"
        assert away.headers["Location"] == f"/ui/login{after}"
    assert server.call("GET", "/ui/events").status_code == 401


def test_every_page_forbids_all_that_it_does_not_use(server: Server, visitor: Visitor, page_paths: list[str]):
    answers = [*map(visitor.get, [*page_paths, "/ui/nothing"]), server.call("GET", "/ui/login")]
    for answer in answers:
        policy = answer.headers["Content-Security-Policy"]
        assert policy.startswith("default-src 'none'; script-src 'self'; style-src 'self';")
        assert "unsafe" not in policy
        assert "frame-ancestors 'none'" in policy
        assert answer.headers["X-Content-Type-Options"] == "nosniff"
        assert answer.headers["Referrer-Policy"] == "no-referrer"
        assert answer.headers["Cache-Control"] == "no-store"
        # What the policy would refuse is not there at all.
        assert not re.search(r"<script(?![^>]* src=)|<style| style=| on[a-z]+=", answer.text)
        assert not re.search(r"(?:src|href|action)=\"(?!/|#)", answer.text)


def test_hostile_names_are_text(server: Server, operator: Operator, visitor: Visitor, page_paths: list[str]):
    hostile = Device(server, {"mac": EVIL, EVIL: "1"}, make_key("ed25519"))
    hostile.authenticate()
    operator.decide(hostile.identity, "accepted")
    assert hostile.authenticate().status_code == 200
    told = [{"name": EVIL, "value": EVIL}, {"name": "artifact_name", "value": EVIL}]
    assert hostile.call("PATCH", INVENTORY, json=told).status_code == 200
    known = operator.device(hostile.identity)["id"]
    artifact = page_paths[4].rpartition("/")[2]
    path = f"{MANAGEMENT}/deployments/artifacts/{artifact}"
    assert operator.call("PUT", path, json={"description": EVIL}).status_code == 204
    name = operator.get(path)["name"]
    deployment = operator.deploy(name, known, name=EVIL)
    stranger = Device(server, {"mac": EVIL, "waits": "1"}, make_key("ed25519"))
    assert stranger.authenticate().status_code == 401
    own_device, own_deployment = page_paths[2], page_paths[6]
    more = [
        f"/ui/devices/{known}",
        f"/ui/deployments/{deployment}",
        f"/ui/devices?{requests.compat.urlencode({'q': EVIL, 'artifact': EVIL})}",
    ]
    for path in [*page_paths, *more]:
        text = visitor.get(path).text
        assert "<script>alert" not in text
        assert "<img" not in text
        assert ("&lt;script&gt;alert(1)" in text) is (path not in (own_device, own_deployment)), path


def test_what_is_not_there_is_a_page(visitor: Visitor):
    for path in ("/ui/nothing", "/ui/devices/nobody", "/ui/artifacts/none", "/ui/deployments/none"):
        answer = visitor.get(path)
        assert answer.status_code == 404
        assert answer.headers["Content-Type"].startswith("text/html")
        assert "There is no" in answer.text
    assert visitor.get("/ui/devices?page=many").status_code == 400


def test_the_cookie_is_for_this_server_alone(server: Server):
    answer = server.call(
        "POST", "/ui/login", data={"name": "operator", "password": PASSWORD}, headers=HERE, allow_redirects=False
    )
    flags = answer.headers["Set-Cookie"].split("; ")
    assert flags[0].startswith("bootproof_token=ey")
    assert {"HttpOnly", "Secure", "SameSite=strict", "Path=/"} <= set(flags)
    server.http.cookies.clear()


def test_without_tls_the_cookie_is_not_secure_and_the_origin_counts(prepared: Path, tmp_path: Path):
    server = Server(shutil.copytree(prepared, tmp_path / "plain"), ("--plain",))
    server.start()
    form = {"name": "operator", "password": PASSWORD}
    for origin, status in ((None, 403), ("http://evil.example", 403), (server.url, 303)):
        headers = {"Origin": origin} if origin else {}
        answer = server.call("POST", "/ui/login", data=form, headers=headers, allow_redirects=False)
        assert answer.status_code == status
    assert "Secure" not in answer.headers["Set-Cookie"]
    assert server.end(signal.SIGTERM) == 0


def test_the_server_ends_while_somebody_looks(prepared: Path, tmp_path: Path):
    server = Server(shutil.copytree(prepared, tmp_path / "ending"))
    with (tmp_path / "log").open("w+") as log:
        server.start(stderr=log)
        visitor = Visitor(server)
        with visitor.http.get(f"{server.url}/ui/events", stream=True, timeout=30) as listening:
            # Kept: who lets go of the lines lets go of the connection.
            lines = listening.iter_lines()
            assert next(lines) == b"retry: 2000"
            assert server.end(signal.SIGTERM) == 0
        visitor.http.close()
        log.seek(0)
        told = [json.loads(line) for line in log]
    assert told[-1]["path"] == "/ui/events"
    assert [one for one in told if one["level"] != "INFO"] == []


@pytest.mark.parametrize("site", ["cross-site", "same-site", "none"])
def test_other_pages_can_neither_log_in_nor_act(site: str, server: Server, visitor: Visitor, device: Device):
    form = {"name": "operator", "password": PASSWORD}
    refused = server.call("POST", "/ui/login", data=form, headers={"Sec-Fetch-Site": site})
    assert refused.status_code == 403
    assert "Set-Cookie" not in refused.headers
    path = f"{MANAGEMENT}/inventory/devices/{device.id}/group"
    assert visitor.call("PUT", path, {"group": "taken"}, **{"Sec-Fetch-Site": site}).status_code == 401
    assert visitor.post("/ui/logout", {}, **{"Sec-Fetch-Site": site}).status_code == 303
    assert visitor.get("/").status_code == 200
    assert visitor.call("PUT", path, {"group": "kept"}, **HERE).status_code == 204


def test_a_log_out_revokes_the_token(server: Server, visitor: Visitor):
    token = visitor.http.cookies["bootproof_token"]
    away = visitor.post("/ui/logout", {}, **HERE)
    assert (away.status_code, away.headers["Location"]) == (303, "/ui/login")
    assert "bootproof_token" not in visitor.http.cookies
    kept = server.call("GET", "/", headers={"Cookie": f"bootproof_token={token}"}, allow_redirects=False)
    assert kept.status_code == 303


def test_a_wrong_password_is_said_and_the_name_is_kept(server: Server):
    form = {"name": 'who "<b>', "password": "wrong", "next": "/ui/devices"}
    answer = server.call("POST", "/ui/login", data=form, headers=HERE)
    assert answer.status_code == 401
    assert "The name or the password is wrong." in answer.text
    assert 'value="who &#34;&lt;b&gt;"' in answer.text
    assert 'value="/ui/devices"' in answer.text
    assert 'wrong"' not in answer.text


@pytest.mark.parametrize(
    "text",
    [
        "",
        "//evil.example",
        "/\\evil.example",
        "/\t/evil.example",
        "https://evil.example",
        "javascript:alert(1)",
        "ui/devices",
        "/ui/\t/evil",
        "/ui/\n",
        "/ui/login?next=/ui/login",
        f"/ui/{'x' * 3000}",
        "/api/openapi.json",
    ],
)
def test_after_the_log_in_one_stays_here(text: str):
    assert local_path(text) == "/"


def test_after_the_log_in_one_is_where_one_wanted_to_be(server: Server):
    form = {"name": "operator", "password": PASSWORD, "next": "/ui/devices?q=a&status=pending"}
    answer = server.call("POST", "/ui/login", data=form, headers=HERE, allow_redirects=False)
    assert answer.headers["Location"] == "/ui/devices?q=a&status=pending"
    server.http.cookies.clear()


@pytest.mark.usefixtures("roles")
def test_nobody_is_shown_what_the_role_may_not_do(server: Server, new_device, page_paths: list[str]):
    assert new_device().authenticate().status_code == 401
    shown: dict[str, set[str]] = {}
    for role in ROLES:
        visitor = Visitor(server, role)
        text = "".join(visitor.get(path).text for path in page_paths)
        shown[role] = set(re.findall(r'data-call="[A-Z]+"\s+data-path="(/api/management/v./[a-z]+)', text))
        assert ('id="upload"' in text) is ('id="order"' in text) is (role != "read-only")
        visitor.http.close()
    assert shown["read-only"] == set()
    assert shown["deployer"] == {f"{MANAGEMENT}/deployments", f"{MANAGEMENT}/inventory"}
    assert shown["admin"] == shown["deployer"] | {"/api/management/v2/devauth"}


def test_events_say_what_has_changed(visitor: Visitor, operator: Operator, device: Device):
    with visitor.http.get(f"{visitor.server.url}/ui/events", stream=True, timeout=60) as answer:
        assert answer.headers["Content-Type"].startswith("text/event-stream")
        lines = answer.iter_lines()
        assert next(lines) == b"retry: 2000"
        said = next(line for line in lines if line.startswith(b"data: "))
        assert json.loads(said.removeprefix(b"data: "))["revisions"]["devices"] > 0
        path = f"{MANAGEMENT}/inventory/devices/{device.id}/group"
        assert operator.call("PUT", path, json={"group": "moved"}).status_code == 204
        said = next(line for line in lines if line.startswith(b"data: "))
        assert "devices" in json.loads(said.removeprefix(b"data: "))["topics"]


def test_a_page_that_was_logged_out_hears_no_more(visitor: Visitor, operator: Operator, device: Device):
    with visitor.http.get(f"{visitor.server.url}/ui/events", stream=True, timeout=60) as answer:
        lines = answer.iter_lines()
        assert [next(lines) for _ in range(4)][::3] == [b"retry: 2000", b""]
        assert visitor.post("/ui/logout", {}, **HERE).status_code == 303
        path = f"{MANAGEMENT}/inventory/devices/{device.id}/group"
        assert operator.call("PUT", path, json={"group": "secret"}).status_code == 204
        assert [line for line in lines if line] == []


def test_devices_are_found_by_what_they_say(visitor: Visitor, device: Device):
    told = [{"name": "hostname", "value": "Pump-House_7%"}]
    assert device.call("PATCH", INVENTORY, json=told).status_code == 200
    for text in ("pump-house_7%", device.identity["mac"][4:20], device.id[:13]):
        found = visitor.get(f"/ui/devices?{requests.compat.urlencode({'q': text})}").text
        assert f"/ui/devices/{device.id}" in found
    assert "No device fits" in visitor.get("/ui/devices?q=pump-house_8").text


def test_a_search_that_looked_at_a_part_only_says_so(server: Server, visitor: Visitor, device: Device):
    text = f"everywhere-{device.id}"
    rows = [
        {"device_id": device.id, "scope": Scope.TAGS, "name": f"n{n}", "position": 0, "listed": False, "text": text}
        for n in range(MOST_MENTIONS + 1)
    ]
    database = Database(read_url(server.database) if server.database else sqlite_at(server.folder))
    mine = attributes.c.device_id == device.id
    try:
        for kept, is_said in ((rows, True), (rows[1:], False)):
            with database.writing() as connection:
                connection.execute(delete(attributes).where(mine, attributes.c.text == text))
                connection.execute(insert(attributes), kept)
            found = visitor.get(f"/ui/devices?q={text}").text
            assert f"/ui/devices/{device.id}" in found
            assert ("Too many values have this text" in found) is is_said
    finally:
        with database.writing() as connection:
            connection.execute(delete(attributes).where(mine, attributes.c.text == text))
        database.close()


def test_from_beyond_the_end_of_a_list_one_gets_back(visitor: Visitor, device: Device):
    assert device.token
    text = visitor.get("/ui/devices?page=99&per_page=500").text
    assert "Nothing on this page" in text
    assert 'rel="prev" href="/ui/devices?page=1&amp;per_page=500"' in text


def test_one_deploys_only_to_a_device_that_is_accepted(visitor: Visitor, operator: Operator, device: Device):
    for status, is_offered in (("accepted", True), ("rejected", False), ("accepted", True)):
        operator.decide(device.identity, status)
        assert ("Deploy to this device" in visitor.get(f"/ui/devices/{device.id}").text) is is_offered


def test_files_are_asked_for_again_only_when_they_changed(server: Server):
    first = server.call("GET", "/ui/static/page.css")
    assert (first.status_code, first.headers["Cache-Control"]) == (200, "no-cache")
    second = server.call("GET", "/ui/static/page.css", headers={"If-None-Match": first.headers["ETag"]})
    assert (second.status_code, second.content) == (304, b"")
    for name in ("other.css", "..%2fpages.py", "..%2ftemplates%2fbase.html"):
        assert server.call("GET", f"/ui/static/{name}", allow_redirects=False).status_code == 404


def test_an_artifact_is_downloaded_by_its_page(visitor: Visitor, page_paths: list[str]):
    away = visitor.get(f"{page_paths[4]}/download")
    assert away.status_code == 303
    assert visitor.get(away.headers["Location"]).content[257:262] == b"ustar"


@pytest.mark.parametrize(
    ("number", "said"),
    [
        (0, "0 bytes"),
        (1, "1 byte"),
        (999, "999 bytes"),
        (1000, "1 kB"),
        (484_000, "484 kB"),
        (999_900, "1 MB"),
        (12_345_678, "12.3 MB"),
        (3 * 10**12, "3 TB"),
    ],
)
def test_sizes_are_in_human_units(number: int, said: str):
    assert words.size(number) == said


def test_one_failure_among_many_is_seen():
    parts = {one.kind: one for one in words.segments({"success": 99_999, "failure": 1, "pending": 0})}
    assert parts["failed"].width >= 0.9
    assert sum(one.width for one in parts.values()) == pytest.approx(100, abs=0.1)
    assert words.summary({"success": 2, "failure": 1}) == "2 done, 1 failed"
