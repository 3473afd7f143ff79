# SPDX-License-Identifier: Apache-2.0
"""Which server is asked, with which token, over which route."""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import pytest

from updater.errors import DeploymentAborted, ServerError
from updater.server.credentials import KEY_FILE, Credentials
from updater.server.deployment import Deployment
from updater.server.http import Connector, Reply
from updater.server.session import Session

AUTH = "auth_requests"
Answer = Callable[[str, str], "Reply | None"]  # by server and the end of the path; None: it cannot be reached


def reply(status: int, body: bytes = b"", **headers: str) -> Reply:
    return Reply(status, {name.replace("_", "-"): value for name, value in headers.items()}, body)


@dataclass
class Network:
    """Stands for the connector and all servers; notes what was asked."""

    answers: Answer
    asked: list[str] = field(default_factory=list)
    bodies: list[Any] = field(default_factory=list)
    tokens: list[str] = field(default_factory=list)

    def open(self, method: str, url: str, headers: Mapping[str, str], body: bytes | None = None) -> "Network":
        _, _, server, path = url.split("/", 3)
        end = path.rpartition("/")[2]
        self.asked.append(f"{method} {server} {path.removeprefix('api/devices/') if end != AUTH else end}")
        self.bodies.append(json.loads(body) if body else None)
        self.tokens.append(headers.get("Authorization", ""))
        found = self.answers(server, end)
        if found is None:
            raise ServerError(f"The server at {server} did not answer.")
        self.reply = found
        return self

    def whole(self) -> Reply:
        return self.reply


class Talk:
    """A session with made-up servers."""

    def __init__(self, folder: Path, answers: Answer, *servers: str, v1_post: bool = False) -> None:
        self.network = Network(answers)
        names = [f"https://{server}/" for server in servers or ("one",)]
        credentials = Credentials(folder, "{}")
        self.session = Session(names, cast(Connector, self.network), credentials, v1_post=v1_post)

    def poll(self) -> Deployment | None:
        return self.session.next_deployment({"artifact_name": "a b"}, "board")

    def heard(self) -> list[str]:
        heard, self.network.asked = self.network.asked, []
        return [one.rpartition("/")[0] + "/next" if "/next?" in one else one for one in heard]


def everywhere(**by_end: Reply) -> Answer:
    """Lets everybody in and says 204, if nothing else is given."""
    return lambda _, end: by_end.get(end.partition("?")[0], reply(200, b"token") if end == AUTH else reply(204))


NEXT2, NEXT1 = "v2/deployments/device/deployments/next", "v1/deployments/device/deployments/next"


# -- one server --------------------------------------------------------------------------------------------------------


def test_one_address_may_be_given_as_a_text(tmp_path: Path) -> None:
    network = Network(everywhere())
    session = Session("https://one/", cast(Connector, network), Credentials(tmp_path, "{}"))
    assert session.next_deployment({}, "board") is None
    assert network.asked == ["POST one auth_requests", f"POST one {NEXT2}"]
    assert network.tokens == ["", "Bearer token"]
    assert session.url == "https://one"
    with pytest.raises(ServerError, match="No server is configured"):
        Session((), cast(Connector, network), Credentials(tmp_path, "{}")).status("d", "installing")


@pytest.mark.parametrize("call", ["poll", "status", "log", "inventory"])
def test_a_token_that_is_refused_is_renewed_once_by_every_call(call: str, tmp_path: Path) -> None:
    refusals = iter([reply(401)])
    talk = Talk(tmp_path, lambda _, end: reply(200, b"t") if end == AUTH else next(refusals, reply(204)))
    calls: dict[str, Callable[[], object]] = {
        "poll": talk.poll,
        "status": lambda: talk.session.status("d", "installing"),
        "log": lambda: talk.session.send_log("d", []),
        "inventory": lambda: talk.session.send_inventory({}),
    }
    calls[call]()
    first, second, third, fourth = talk.heard()
    assert (first, third, second) == (f"POST one {AUTH}", f"POST one {AUTH}", fourth)
    calls[call]()
    assert AUTH not in " ".join(talk.heard())


def test_a_token_that_is_refused_again_is_dropped(tmp_path: Path) -> None:
    talk = Talk(tmp_path, lambda _, end: reply(200, b"t") if end == AUTH else reply(401))
    for _ in range(2):
        with pytest.raises(ServerError) as refusal:
            talk.session.status("d", "installing")
        assert refusal.value.status == 401
        assert [one.rpartition(" ")[2] for one in talk.heard()][::2] == [AUTH, AUTH]


@pytest.mark.parametrize("body", [b"", b" \n", b"<html>log in first</html>", b"a\nb", "tök".encode(), b"a\0"])
def test_what_is_no_token_is_not_taken_for_one(body: bytes, tmp_path: Path) -> None:
    """The page of a hotel's network, for one."""
    talk = Talk(tmp_path, everywhere(**{AUTH: reply(200, body)}))
    with pytest.raises(ServerError, match="not a token"):
        talk.poll()
    with pytest.raises(ServerError, match="answered 204"):
        Talk(tmp_path, everywhere(**{AUTH: reply(204)})).poll()


def test_a_key_that_cannot_be_used_is_as_good_as_no_server(tmp_path: Path) -> None:
    (tmp_path / KEY_FILE).write_bytes(b"no key")
    with pytest.raises(ServerError, match=r"The device key .* cannot be used"):
        Talk(tmp_path, everywhere()).session.status("d", "installing")


def test_a_deployment_id_stays_one_part_of_the_path(tmp_path: Path) -> None:
    talk = Talk(tmp_path, everywhere())
    talk.session.status("../d?x#y", "installing", "half")
    assert talk.heard()[-1] == "PUT one v1/deployments/device/deployments/..%2Fd%3Fx%23y/status"
    assert talk.network.bodies[-1] == {"status": "installing", "substate": "half"}


@pytest.mark.parametrize(
    ("v1_post", "missing", "asked"),
    [
        (False, 0, [f"POST one {NEXT2}"]),
        (False, 1, [f"POST one {NEXT2}", f"GET one {NEXT1}"]),
        (True, 1, [f"POST one {NEXT2}", f"POST one {NEXT1}"]),
        (True, 2, [f"POST one {NEXT2}", f"POST one {NEXT1}", f"GET one {NEXT1}"]),
    ],
)
def test_older_routes_are_asked_where_there_is_no_newer(
    v1_post: bool, missing: int, asked: list[str], tmp_path: Path
) -> None:
    absent = iter([reply(404)] * missing)
    talk = Talk(tmp_path, lambda _, end: reply(200, b"t") if end == AUTH else next(absent, reply(204)), v1_post=v1_post)
    assert talk.poll() is None
    assert talk.network.asked[-1].endswith("?artifact_name=a+b&device_type=board") is asked[-1].startswith("GET")
    assert talk.heard()[1:] == asked
    flat = {"device_type": "board", "artifact_name": "a b"}
    assert talk.network.bodies[1] == {"device_provides": flat}
    if v1_post:
        assert talk.network.bodies[2] == flat


@pytest.mark.parametrize("status", [400, 403, 404, 409, 500, 301])
def test_other_answers_lead_to_no_other_route(status: int, tmp_path: Path) -> None:
    talk = Talk(tmp_path, everywhere(next=reply(status)))
    with pytest.raises(ServerError, match=f"answered {status}") as refusal:
        talk.poll()
    assert refusal.value.status == status
    assert len(talk.heard()) == (3 if status == 404 else 2)


def test_an_aborted_deployment_and_a_log_that_is_too_large(tmp_path: Path) -> None:
    talk = Talk(tmp_path, everywhere(status=reply(409), log=reply(413)))
    with pytest.raises(DeploymentAborted):
        talk.session.status("d", "installing")
    with pytest.raises(ServerError) as refusal:
        talk.session.send_log("d", [])
    assert refusal.value.status == 413
    assert [one.partition(" ")[0] for one in talk.heard()] == ["POST", "PUT", "PUT"], "it is not sent again"


def test_a_server_that_is_asked_too_often_says_how_long_to_wait(tmp_path: Path) -> None:
    talk = Talk(tmp_path, everywhere(next=reply(429, retry_after="77")))
    with pytest.raises(ServerError) as refusal:
        talk.poll()
    assert (refusal.value.status, refusal.value.retry_after) == (429, 77.0)


# -- the inventory -----------------------------------------------------------------------------------------------------


def test_an_inventory_that_did_not_change_is_not_sent_again(tmp_path: Path) -> None:
    talk = Talk(tmp_path, everywhere())
    assert talk.session.send_inventory({"a": "1", "b": ["1", "2"]})
    assert not talk.session.send_inventory({"b": ["1", "2"], "a": "1"})
    assert len(talk.heard()) == 2
    assert talk.session.send_inventory({"a": "1", "b": ["1", "2"]}, force=True)
    assert talk.session.send_inventory({"a": "1", "b": ["2", "1"]})
    assert len(talk.heard()) == 2


def test_an_inventory_that_was_refused_is_sent_again(tmp_path: Path) -> None:
    refusals = iter([reply(500)])
    talk = Talk(tmp_path, lambda _, end: reply(200, b"t") if end == AUTH else next(refusals, reply(200)))
    with pytest.raises(ServerError):
        talk.session.send_inventory({"a": "1"})
    assert talk.session.send_inventory({"a": "1"})


def test_a_server_that_knows_only_patch_is_sent_a_patch(tmp_path: Path) -> None:
    refusals = iter([reply(405)])
    talk = Talk(tmp_path, lambda _, end: reply(200, b"t") if end == AUTH else next(refusals, reply(200)))
    talk.session.send_inventory({"a": "1"})
    assert talk.heard()[1:] == [f"{method} one v1/inventory/device/attributes" for method in ("PUT", "PATCH")]
    assert talk.network.bodies[1] == talk.network.bodies[2] == [{"name": "a", "value": "1"}]


# -- several servers ---------------------------------------------------------------------------------------------------


@dataclass
class Fleet:
    """Which servers are there, and which let the device in."""

    up: set[str]
    denies: set[str] = field(default_factory=set)

    def __call__(self, server: str, end: str) -> Reply | None:
        if server not in self.up:
            return None
        if server in self.denies:
            return reply(401)
        return reply(200, server.encode()) if end == AUTH else reply(204)


def servers(heard: list[str]) -> list[str]:
    return [("in " if one.endswith(AUTH) else "") + one.split()[1] for one in heard]


def test_the_first_that_lets_the_device_in_is_asked_for_as_long_as_it_answers(tmp_path: Path) -> None:
    fleet = Fleet(up={"two", "three"}, denies={"two"})
    talk = Talk(tmp_path, fleet, "one", "two", "three")
    talk.poll()
    assert servers(talk.heard()) == ["in one", "in two", "in three", "three"]
    assert talk.network.tokens[-1] == "Bearer three"
    fleet.up, fleet.denies = {"one", "two", "three"}, set()
    talk.poll()
    assert servers(talk.heard()) == ["three"]
    talk.session.forget_token()
    talk.poll()
    assert servers(talk.heard()) == ["in three", "three"]


def test_a_server_that_is_gone_is_replaced_by_the_next_in_the_same_call(tmp_path: Path) -> None:
    fleet = Fleet(up={"one", "two"})
    talk = Talk(tmp_path, fleet, "one", "two")
    talk.poll()
    talk.heard()
    fleet.up = {"two"}
    talk.session.status("d", "installing")
    assert servers(talk.heard()) == ["one", "in two", "two"]
    assert talk.network.tokens[-1] == "Bearer two", "a token is for the server that gave it"
    fleet.up = {"one"}
    talk.session.status("d", "installing")
    assert servers(talk.heard()) == ["two", "in one", "one"], "the list goes round"


def test_a_server_that_no_longer_lets_the_device_in_is_replaced_too(tmp_path: Path) -> None:
    fleet = Fleet(up={"one", "two"})
    talk = Talk(tmp_path, fleet, "one", "two")
    talk.poll()
    talk.heard()
    fleet.denies = {"one"}
    talk.poll()
    assert servers(talk.heard()) == ["one", "in one", "in two", "two"]


def test_with_no_server_left_the_most_telling_error_counts_and_the_first_is_next(tmp_path: Path) -> None:
    fleet = Fleet(up={"two"}, denies={"two"})
    talk = Talk(tmp_path, fleet, "one", "two", "three")
    for _ in range(2):
        with pytest.raises(ServerError) as refusal:
            talk.poll()
        assert refusal.value.status == 401
        assert servers(talk.heard()) == ["in one", "in two", "in three"]
    fleet.up, fleet.denies = {"two"}, set()
    talk.poll()
    talk.heard()
    fleet.up = set()
    with pytest.raises(ServerError):
        talk.poll()
    assert servers(talk.heard()) == ["two", "in three", "in one", "in two"]
    fleet.up = {"one", "two"}
    talk.poll()
    assert servers(talk.heard()) == ["in one", "one"]


def test_one_server_that_is_gone_for_a_moment_keeps_its_token(tmp_path: Path) -> None:
    fleet = Fleet(up={"one"})
    talk = Talk(tmp_path, fleet)
    talk.poll()
    fleet.up = set()
    with pytest.raises(ServerError):
        talk.poll()
    fleet.up = {"one"}
    talk.poll()
    assert servers(talk.heard()) == ["in one", "one", "one", "one"]


def test_another_server_gets_the_inventory_anew(tmp_path: Path) -> None:
    fleet = Fleet(up={"one", "two"})
    talk = Talk(tmp_path, fleet, "one", "two")
    assert talk.session.send_inventory({"a": "1"})
    fleet.up = {"two"}
    talk.poll()
    assert talk.session.send_inventory({"a": "1"})


@dataclass
class Announcer(Fleet):
    """A fleet of which one knows of the deployment."""

    knows: str = "one"

    def __call__(self, server: str, end: str) -> Reply | None:
        found = super().__call__(server, end)
        return reply(404) if found and found.status == 204 and server != self.knows else found


def test_a_server_that_does_not_know_of_a_deployment_is_not_the_one_that_announced_it(tmp_path: Path) -> None:
    fleet = Announcer(up={"two"})
    talk = Talk(tmp_path, fleet, "one", "two")
    with pytest.raises(ServerError):
        talk.session.status("d", "installing")
    talk.heard()
    fleet.up = {"one", "two"}
    talk.session.status("d", "success")
    assert servers(talk.heard()) == ["two", "in one", "one"]
    talk.session.status("d", "success")
    assert servers(talk.heard()) == ["one"], "and it is asked from now on"


def test_where_it_is_away_nobody_has_been_told(tmp_path: Path) -> None:
    fleet = Announcer(up={"two"})
    talk = Talk(tmp_path, fleet, "one", "two")
    with pytest.raises(ServerError) as refusal:
        talk.session.status("d", "success")
    assert refusal.value.status == 404
    assert servers(talk.heard()) == ["in one", "in two", "two", "in one", "in two", "two"]
    fleet.up = {"one", "two"}
    talk.session.status("d", "success")
    assert servers(talk.heard()) == ["two", "in one", "one"]


def test_what_the_software_provides_does_not_change_what_the_device_is(tmp_path: Path) -> None:
    talk = Talk(tmp_path, Fleet(up={"one"}))
    talk.session.next_deployment({"artifact_name": "a", "device_type": "another"}, "board")
    assert talk.network.bodies[-1] == {"device_provides": {"artifact_name": "a", "device_type": "board"}}
