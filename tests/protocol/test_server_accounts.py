# SPDX-License-Identifier: Apache-2.0
"""Users, roles and tokens: what each may do, and when a token counts no more."""

import asyncio
import base64
import shutil
import signal
import sqlite3
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from anyio import CapacityLimiter
from cryptography.hazmat.primitives.kdf.scrypt import Scrypt

from server_stub.api.accounts import begin_session
from server_stub.domain import users as rules
from server_stub.domain.limits import Limits
from server_stub.errors import TooMany, Unauthorized
from server_stub.front.guards import Guards
from tests.loops import run
from tests.protocol.conftest import (
    ARTIFACTS,
    DEPLOYMENTS,
    DEVICES,
    MANAGEMENT,
    PASSWORD,
    Device,
    Operator,
    Server,
)

USERADM = f"{MANAGEMENT}/useradm"


@pytest.fixture
def user(operator: Operator) -> Callable[[str], tuple[str, Operator]]:
    """A new user with a role, logged in."""

    def make(role: str) -> tuple[str, Operator]:
        name = f"user-{uuid.uuid4().hex}"
        body = {"name": name, "password": PASSWORD, "role": role}
        assert operator.call("POST", f"{USERADM}/users", json=body).status_code == 201
        return name, log_in(operator.server, name)

    return make


def log_in(server: Server, name: str, password: str = PASSWORD, **query: str) -> Operator:
    answer = server.call("POST", f"{USERADM}/auth/login", auth=(name, password), params=query)
    assert answer.status_code == 200, answer.text
    return Operator(server, answer.text)


def test_wrong_passwords_that_come_together_are_counted_one_by_one(monkeypatch: pytest.MonkeyPatch):
    looked_at = []
    monkeypatch.setattr(rules, "matches", lambda password, _kept: looked_at.append(password))

    async def nobody(_job: object) -> None: ...

    async def story() -> None:
        guards = Guards(Limits(logins=3))
        services: Any = SimpleNamespace(guards=guards, hashing=CapacityLimiter(2), read=nobody)
        request: Any = SimpleNamespace(client=SimpleNamespace(host="1.2.3.4"))
        tries = (begin_session(services, request, "operator", "guess", None) for _ in range(30))
        told = await asyncio.gather(*tries, return_exceptions=True)
        assert {type(one) for one in told} == {Unauthorized, TooMany}

    run(story())
    assert len(looked_at) in (3, 4)


def test_each_role_may_do_what_it_is_for(
    user: Callable[[str], tuple[str, Operator]], device: Device, write_artifact: Callable[..., Path]
):
    path = write_artifact(uuid.uuid4().hex)
    deploy = {"name": "n", "artifact_name": "never", "devices": [device.id]}
    done: dict[str, list[int]] = {}
    for role in ("read-only", "deployer", "admin"):
        _, who = user(role)
        done[role] = [
            who.call("GET", DEVICES).status_code,
            who.call("GET", ARTIFACTS).status_code,
            who.upload(path).status_code,
            who.call("POST", DEPLOYMENTS, json=deploy).status_code,
            who.call("POST", f"{DEVICES}/accept", json={"devices": []}).status_code,
            who.call("GET", f"{USERADM}/users").status_code,
            who.call("GET", f"{MANAGEMENT}/lab/journal").status_code,
        ]
    assert done["read-only"] == [200, 200, 403, 403, 403, 403, 403]
    assert done["deployer"] == [200, 200, 201, 422, 403, 403, 403]
    assert done["admin"] == [200, 200, 422, 422, 200, 200, 200]


def test_a_session_may_be_narrowed_but_not_widened(server: Server, user: Callable[[str], tuple[str, Operator]]):
    name, _ = user("deployer")
    narrow = log_in(server, name, role="read-only")
    assert narrow.call("DELETE", f"{ARTIFACTS}/unknown").status_code == 403
    wide = log_in(server, name, role="admin")
    assert wide.call("GET", f"{USERADM}/users").status_code == 403
    assert wide.call("DELETE", f"{ARTIFACTS}/unknown").status_code == 404


def test_a_session_ends(operator: Operator, user: Callable[[str], tuple[str, Operator]]):
    name, who = user("admin")
    assert who.get(f"{USERADM}/users/me")["id"] == name
    assert who.call("POST", f"{USERADM}/auth/logout").status_code == 204
    assert who.call("GET", DEVICES).status_code == 401
    again = log_in(operator.server, name)
    assert operator.call("PUT", f"{USERADM}/users/{name}", json={"role": "read-only"}).status_code == 204
    assert again.call("GET", f"{USERADM}/users").status_code == 403
    assert operator.call("PUT", f"{USERADM}/users/{name}", json={"password": "another horse"}).status_code == 204
    assert again.call("GET", DEVICES).status_code == 401
    last = log_in(operator.server, name, "another horse")
    assert operator.call("DELETE", f"{USERADM}/users/{name}").status_code == 204
    assert last.call("GET", DEVICES).status_code == 401
    assert operator.call("DELETE", f"{USERADM}/users/{name}").status_code == 404


def test_the_last_admin_stays(operator: Operator):
    admins = [one for one in operator.get(f"{USERADM}/users") if one["role"] == "admin"]
    for one in admins:
        if one["id"] != "operator":
            assert operator.call("DELETE", f"{USERADM}/users/{one['id']}").status_code == 204
    assert operator.call("DELETE", f"{USERADM}/users/operator").status_code == 422
    assert operator.call("PUT", f"{USERADM}/users/operator", json={"role": "deployer"}).status_code == 422


def test_tokens_for_programs(server: Server, user: Callable[[str], tuple[str, Operator]]):
    _, who = user("deployer")
    tokens = f"{USERADM}/settings/tokens"
    answer = who.call("POST", tokens, json={"name": "ci", "expires_in": 60, "role": "read-only"})
    assert answer.status_code == 200
    program = Operator(server, answer.text)
    assert program.call("GET", DEVICES).status_code == 200
    assert program.call("DELETE", f"{ARTIFACTS}/unknown").status_code == 403
    assert who.call("POST", tokens, json={"name": "ci"}).status_code == 422
    assert who.call("POST", tokens, json={"name": "more", "role": "admin"}).status_code == 422
    (shown,) = who.get(tokens)
    assert (shown["name"], shown["role"]) == ("ci", "read-only")
    # It makes no further tokens that could do more than it may.
    assert program.call("POST", tokens, json={"name": "wider", "role": "deployer"}).status_code == 422
    assert who.call("DELETE", f"{tokens}/{shown['id']}").status_code == 204
    assert program.call("GET", DEVICES).status_code == 401
    short = who.call("POST", tokens, json={"name": "short", "expires_in": 1}).text
    until = time.monotonic() + 30
    while Operator(server, short).call("GET", DEVICES).status_code != 401:
        assert time.monotonic() < until
        time.sleep(0.1)


@pytest.mark.parametrize(
    "wrong",
    [
        {"name": "a:b", "password": PASSWORD},
        {"name": "a", "password": "short"},
        {"password": PASSWORD},
        {"name": "a", "password": PASSWORD, "role": "god"},
        {"name": " a", "password": PASSWORD},
        {"name": "a\0b", "password": PASSWORD},
    ],
)
def test_users_that_cannot_be(wrong: dict[str, Any], operator: Operator):
    assert operator.call("POST", f"{USERADM}/users", json=wrong).status_code == 400


def test_a_name_that_is_taken(operator: Operator):
    taken = {"name": "operator", "password": PASSWORD}
    assert operator.call("POST", f"{USERADM}/users", json=taken).status_code == 422


def test_guessing_is_slowed_down(prepared: Path, tmp_path: Path):
    server = Server(shutil.copytree(prepared, tmp_path / "server"))
    server.start()
    # The count begins anew each minute, which may fall into this.
    codes = [401]
    while codes[-1] == 401 and len(codes) < 50:
        answer = server.call("POST", f"{USERADM}/auth/login", auth=("operator", f"guess {len(codes)}"))
        codes.append(answer.status_code)
    assert len(codes) > 20
    assert (codes[-1], answer.headers["Retry-After"]) == (429, "1")
    assert server.end(signal.SIGTERM) == 0


def test_a_password_of_the_first_server_still_counts_and_is_remembered_anew(prepared: Path, tmp_path: Path):
    folder = shutil.copytree(prepared, tmp_path / "server")
    salt = b"0123456789abcdef"
    derived = Scrypt(salt=salt, length=32, n=2**14, r=8, p=1).derive(PASSWORD.encode())
    former = "$".join(["scrypt", "16384", "8", "1", *(base64.b64encode(one).decode() for one in (salt, derived))])
    with sqlite3.connect(folder / "server.sqlite") as database:
        database.execute("UPDATE users SET password = ?", (former,))
    assert not rules.matches("wrong horse", former)
    server = Server(folder)
    server.start()
    log_in(server, "operator")
    log_in(server, "operator")
    assert server.end(signal.SIGTERM) == 0
    with sqlite3.connect(folder / "server.sqlite") as database:
        (kept,) = database.execute("SELECT password FROM users").fetchone()
    assert kept.startswith("$argon2id$")
