# SPDX-License-Identifier: Apache-2.0
"""The updater's own client against the real server, over TLS on the loopback."""

import json
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives import serialization

from tests.protocol.conftest import DEPLOYMENTS, DEVICE_TYPE, MANAGEMENT, Operator, Server, make_key
from updater.errors import DeploymentAborted, ServerError
from updater.server.credentials import REQUEST_FILE, Credentials
from updater.server.http import Connector
from updater.server.session import Deployment, Session

# It is about the client, which sees no database.
DATABASES = ("sqlite",)
PROVIDES = {"artifact_name": "old", "rootfs-image.version": "old"}


class Client:
    """An updater's session with the identity it was made with."""

    def __init__(self, server: Server, folder: Path) -> None:
        self.identity = {"mac": uuid.uuid4().hex}
        self.folder, self.server = folder, server
        self.session = self.fresh()

    def fresh(self) -> Session:
        """As after a start of the process."""
        credentials = Credentials(self.folder, json.dumps(self.identity))
        return Session(self.server.url + "/", Connector(Path(self.server.ca)), credentials)

    def poll(self) -> Deployment | None:
        return self.session.next_deployment(PROVIDES, DEVICE_TYPE)


@pytest.fixture
def client(server: Server, tmp_path: Path) -> Client:
    return Client(server, tmp_path)


@pytest.fixture
def accepted(client: Client, operator: Operator) -> Client:
    with pytest.raises(ServerError):
        client.poll()
    operator.decide(client.identity, "accepted")
    return client


@pytest.fixture(scope="module")
def artifact(operator: Operator, write_artifact: Callable[..., Path]) -> Path:
    path = write_artifact("release-b", size=50_000)
    assert operator.upload(path).status_code == 201
    return path


def deployed(client: Client, operator: Operator) -> str:
    return operator.deploy("release-b", operator.device(client.identity)["id"])


def calls_of(operator: Operator, client: Client) -> list[tuple[str, str, int]]:
    journal: list[dict[str, Any]] = operator.get(f"{MANAGEMENT}/lab/journal")
    mine = operator.device(client.identity)["id"]
    return [(one["method"], one["path"].rpartition("/")[2], one["status"]) for one in journal if one["device"] == mine]


def test_a_device_waits_until_it_is_accepted(client: Client, operator: Operator) -> None:
    for _ in range(2):
        with pytest.raises(ServerError, match="asked to be let in, and the server answered 401") as refusal:
            client.poll()
        assert refusal.value.status == 401
    assert [one["status"] for one in operator.device(client.identity)["auth_sets"]] == ["pending"]
    operator.decide(client.identity, "accepted")
    assert client.poll() is None
    assert client.poll() is None
    assert [call for call in calls_of(operator, client) if call[2] in (200, 204)] == [
        ("POST", "auth_requests", 200), ("POST", "next", 204), ("POST", "next", 204),
    ]  # fmt: skip


def test_a_kept_request_still_lets_it_in(accepted: Client) -> None:
    assert accepted.poll() is None
    kept = (accepted.folder / REQUEST_FILE).read_bytes()
    accepted.session = accepted.fresh()
    assert accepted.poll() is None
    assert (accepted.folder / REQUEST_FILE).read_bytes() == kept


def test_a_kept_request_that_is_wrong_is_renewed(accepted: Client) -> None:
    path = accepted.folder / REQUEST_FILE
    path.write_text(json.dumps({**json.loads(path.read_text()), "signature": "AAAA"}))
    accepted.session = accepted.fresh()
    with pytest.raises(ServerError):
        accepted.poll()
    assert accepted.poll() is None


def test_a_token_that_is_no_longer_taken_is_replaced(accepted: Client, operator: Operator) -> None:
    assert accepted.poll() is None
    accepted.session._token = "out.of.date"
    assert accepted.poll() is None
    accepted.session.forget_token()
    assert accepted.poll() is None
    assert [call[1] for call in calls_of(operator, accepted)].count("auth_requests") == 4
    operator.decide(accepted.identity, "rejected")
    with pytest.raises(ServerError) as refusal:
        accepted.poll()
    assert refusal.value.status == 401


def test_an_update_is_reported_to_its_end(accepted: Client, operator: Operator, artifact: Path) -> None:
    assert artifact.exists()
    wanted = deployed(accepted, operator)
    found = accepted.poll()
    assert found is not None
    assert (found.id, found.artifact_name, found.device_types) == (wanted, "release-b", (DEVICE_TYPE,))
    assert found.uri.startswith(f"{accepted.server.url}/")
    device = operator.device(accepted.identity)["id"]
    for status in ("downloading", "installing", "rebooting", "installing"):
        accepted.session.status(wanted, status)
        assert operator.part(wanted, device)["status"] == status
        again = accepted.poll()
        assert again is not None
        assert (again.id, again.artifact_name) == (found.id, found.artifact_name)
    accepted.session.status(wanted, "success", "all is well")
    assert operator.part(wanted, device)["status"] == "success"
    assert operator.part(wanted, device)["substate"] == "all is well"
    assert accepted.poll() is None


def test_a_failure_brings_its_log(accepted: Client, operator: Operator, artifact: Path) -> None:
    assert artifact.exists()
    wanted = deployed(accepted, operator)
    accepted.session.status(wanted, "failure")
    accepted.session.send_log(wanted, [{"timestamp": "2024-01-02T03:04:05.678Z", "level": "error", "message": "oh ☃"}])
    device = operator.device(accepted.identity)["id"]
    answer = operator.call("GET", f"{DEPLOYMENTS}/{wanted}/devices/{device}/log")
    assert answer.text == "2024-01-02T03:04:05.678Z error: oh ☃\n"
    with pytest.raises(ServerError) as refusal:
        accepted.session.send_log(wanted, [])
    assert refusal.value.status == 400


def test_an_aborted_deployment_is_said_to_be_so(accepted: Client, operator: Operator, artifact: Path) -> None:
    assert artifact.exists()
    wanted = deployed(accepted, operator)
    accepted.session.status(wanted, "downloading")
    assert operator.call("PUT", f"{DEPLOYMENTS}/{wanted}/status", json={"status": "aborted"}).status_code == 204
    with pytest.raises(DeploymentAborted, match=f"has aborted deployment {wanted}"):
        accepted.session.status(wanted, "installing")
    assert accepted.poll() is None
    with pytest.raises(ServerError) as refusal:
        accepted.session.status(str(uuid.uuid4()), "installing")
    assert refusal.value.status == 404


def test_the_inventory_replaces_the_one_before(accepted: Client, operator: Operator) -> None:
    accepted.session.send_inventory({"artifact_name": "old", "ip": ["1", "2"], "gone": "x"})
    accepted.session.send_inventory({"artifact_name": "new", "ip": ["1", "2"]})
    device = operator.device(accepted.identity)["id"]
    shown = operator.get(f"{MANAGEMENT}/inventory/devices/{device}")
    found = {one["name"]: one["value"] for one in shown["attributes"] if one.get("scope", "inventory") == "inventory"}
    assert found.items() >= {"artifact_name": "new", "ip": ["1", "2"]}.items()
    assert "gone" not in found


def test_another_server_takes_over_where_one_is_gone(accepted: Client) -> None:
    credentials = accepted.session.credentials
    addresses = ("https://127.0.0.1:1", accepted.server.url, "https://127.0.0.1:2")
    session = Session(addresses, Connector(Path(accepted.server.ca)), credentials)
    assert session.next_deployment(PROVIDES, DEVICE_TYPE) is None
    assert session.url == accepted.server.url


@pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])
def test_a_device_with_a_key_of_its_makers_is_let_in(
    kind: str, server: Server, operator: Operator, tmp_path: Path
) -> None:
    path = tmp_path / "maker.pem"
    path.write_bytes(
        make_key(kind).private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
    )
    identity = {"mac": uuid.uuid4().hex}
    credentials = Credentials(tmp_path, json.dumps(identity), key=path)
    session = Session(server.url, Connector(Path(server.ca)), credentials)
    with pytest.raises(ServerError):
        session.next_deployment(PROVIDES, DEVICE_TYPE)
    operator.decide(identity, "accepted")
    assert session.next_deployment(PROVIDES, DEVICE_TYPE) is None


def test_only_a_server_with_the_right_certificate_is_believed(server: Server, client: Client) -> None:
    session = Session(server.url, Connector(), client.session.credentials)
    with pytest.raises(ServerError, match=r"did not answer.*certificate"):
        session.next_deployment(PROVIDES, DEVICE_TYPE)
    with pytest.raises(ServerError, match="cannot be used"):
        Connector(client.folder / "none.pem")
