# SPDX-License-Identifier: Apache-2.0
"""Who gets a token: keys of three kinds, pending, rejected, preauthorized, forged and expired."""

import json
import time
from collections.abc import Callable

import jwt
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.protocol.conftest import DEVICE_TYPE, DEVICES, MANAGEMENT, Device, Operator, Server, make_key

KINDS = pytest.mark.parametrize("kind", ["rsa", "ecdsa", "ed25519"])


@KINDS
def test_a_device_waits_for_the_operator_and_then_gets_a_token(kind, new_device, operator):
    device = new_device(kind)
    refused = device.authenticate()
    assert refused.status_code == 401
    assert "pending" in refused.json()["error"]
    assert operator.device(device.identity)["status"] == "pending"
    operator.decide(device.identity, "accepted")
    answer = device.authenticate()
    assert answer.status_code == 200
    assert answer.headers["content-type"].startswith("application/jwt")
    claims = jwt.decode(answer.text, options={"verify_signature": False})
    known = operator.device(device.identity)
    assert (claims["sub"], claims["jti"]) == (known["id"], known["auth_sets"][0]["id"])
    assert (claims["iss"], claims["mender.device"]) == ("Mender", True)
    assert claims["exp"] - claims["iat"] == 7 * 24 * 3600


@KINDS
def test_a_signature_counts_only_for_its_body_and_key(kind, new_device):
    device = new_device(kind)
    body = device.introduction()
    assert device.authenticate(body + b" ", device.sign(body)).status_code == 401
    stranger = Device(device.server, device.identity, make_key(kind))
    assert device.authenticate(body, stranger.sign(body)).status_code == 401
    assert device.authenticate(body, "no base64!").status_code == 401
    assert device.authenticate(body, "").status_code == 400


def test_a_rejected_device_gets_no_token_and_loses_the_one_it_had(device: Device, operator: Operator):
    operator.decide(device.identity, "rejected")
    assert device.poll().status_code == 401
    assert device.authenticate().status_code == 401
    operator.decide(device.identity, "accepted")
    assert device.poll().status_code == 204


def test_the_order_of_identity_attributes_does_not_matter(device: Device, operator: Operator):
    turned = Device(device.server, dict(reversed(device.identity.items())), device.key)
    assert turned.authenticate().status_code == 200
    assert operator.device(device.identity)["id"] == device.id


def test_a_new_key_waits_and_its_acceptance_ends_the_old_one(device: Device, operator: Operator):
    renewed = Device(device.server, device.identity, make_key("ed25519"))
    assert renewed.authenticate().status_code == 401
    known = operator.device(device.identity)
    assert [one["status"] for one in known["auth_sets"]] == ["accepted", "pending"]
    assert known["status"] == "accepted"
    assert device.poll().status_code == 204
    operator.decide(device.identity, "accepted", which=1)
    assert renewed.authenticate().status_code == 200
    assert device.poll().status_code == 401
    assert [one["status"] for one in operator.device(device.identity)["auth_sets"]] == ["rejected", "accepted"]


def test_a_preauthorized_device_is_let_in_at_once(new_device: Callable[..., Device], operator: Operator):
    device = new_device()
    order = {"identity_data": device.identity, "pubkey": device.pubkey()}
    assert operator.call("POST", DEVICES, json=order).status_code == 201
    assert operator.device(device.identity)["status"] == "preauthorized"
    assert operator.call("POST", DEVICES, json=order).status_code == 409
    assert Device(device.server, device.identity, make_key("rsa")).authenticate().status_code == 401
    assert device.authenticate().status_code == 200


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"[]",
        b"{",
        b"[" * 100_000,
        b'{"id_data": {"mac": "1"}, "pubkey": "x"}',
        b'{"id_data": "{}", "pubkey": "x"}',
        b'{"id_data": "{\\"mac\\": \\"\\ud800\\"}", "pubkey": "x"}',
        b'{"id_data": "{\\"mac\\": NaN}", "pubkey": "x"}',
        b'{"id_data": "{\\"mac\\": \\"1\\"}", "pubkey": "-----BEGIN"}',
    ],
)
def test_a_malformed_introduction_is_refused(body: bytes, new_device: Callable[..., Device]):
    answer = new_device().authenticate(body)
    assert answer.status_code == 400
    assert answer.json()["error"]


def test_a_key_that_takes_long_to_verify_is_refused(new_device: Callable[..., Device]):
    numbers = rsa.generate_private_key(65537, 2048).public_key().public_numbers()
    shown = rsa.RSAPublicNumbers((1 << 2000) + 1, numbers.n).public_key()
    pem = shown.public_bytes(serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo).decode()
    body = json.dumps({"id_data": '{"mac":"1"}', "pubkey": pem}).encode()
    answer = new_device().authenticate(body)
    assert (answer.status_code, answer.json()["error"]) == (400, "The RSA key's exponent is larger than 32 bits.")


def test_tokens_that_do_not_count(device: Device, operator: Operator, server: Server):
    claims = jwt.decode(device.token, options={"verify_signature": False})
    secret = server.secret()
    good = device.token
    bad = {
        "expired": jwt.encode({**claims, "exp": int(time.time()) - 1}, secret, algorithm="HS256"),
        "signed by another": jwt.encode(claims, b"x" * 64, algorithm="HS256"),
        "unsigned": jwt.encode(claims, None, algorithm="none"),
        "of a user": operator.token,
        "of another auth set": jwt.encode({**claims, "jti": "other"}, secret, algorithm="HS256"),
        "no token": "nonsense",
        "empty": "",
    }
    for what, device.token in bad.items():
        assert device.poll().status_code == 401, what
    device.token = good
    assert device.poll().status_code == 204
    for token in (good, "nonsense"):
        assert Operator(server, token).call("GET", DEVICES).status_code == 401


def test_a_token_is_remembered_with_few_blanks_around_it(device: Device):
    """What was shown is kept in memory, once for each way to show it."""
    token = device.token
    for blanks, status in ((1, 204), (2000, 401)):
        assert device.poll(headers={"Authorization": f"Bearer {' ' * blanks}{token}"}).status_code == status


def test_log_in_needs_the_right_name_and_password(server: Server):
    login = f"{MANAGEMENT}/useradm/auth/login"
    assert server.call("POST", login).status_code == 401
    assert server.call("POST", login, auth=("operator", "wrong horse")).status_code == 401
    assert server.call("POST", login, auth=("nobody", "correct horse")).status_code == 401
    assert server.call("GET", DEVICES).status_code == 401


def test_a_decommissioned_device_starts_anew(device: Device, operator: Operator):
    assert operator.call("DELETE", f"{DEVICES}/{device.id}").status_code == 204
    assert operator.call("DELETE", f"{DEVICES}/{device.id}").status_code == 404
    assert operator.call("GET", f"{DEVICES}/{device.id}").status_code == 404
    assert device.poll().status_code == 401
    assert device.authenticate().status_code == 401
    assert operator.device(device.identity)["status"] == "pending"


def test_devices_are_listed_counted_and_paged(new_device: Callable[..., Device], operator: Operator):
    for _ in range(3):
        new_device().authenticate()
    pending = operator.get(f"{DEVICES}/count?status=pending")["count"]
    answer = operator.call("GET", f"{DEVICES}?status=pending&page=2&per_page=2")
    assert pending >= 3
    assert answer.headers["X-Total-Count"] == str(pending)
    assert 1 <= len(answer.json()) <= 2
    assert operator.call("GET", f"{DEVICES}?status=strange").status_code == 400
    assert operator.call("GET", f"{DEVICES}?page=0").status_code == 400
    assert operator.call("GET", f"{DEVICES}?per_page=9999999999999999999999").status_code == 400


def test_inventory_is_replaced_or_added_to(device: Device, operator: Operator):
    path = "/api/devices/v1/inventory/device/attributes"

    def kept() -> dict[str, object]:
        shown = operator.get(f"{MANAGEMENT}/inventory/devices/{device.id}")
        return {one["name"]: one["value"] for one in shown["attributes"] if one["scope"] == "inventory"}

    first = [{"name": "device_type", "value": DEVICE_TYPE}, {"name": "modules", "value": ["a", "b"]}]
    assert device.call("PUT", path, json=first).status_code == 200
    assert device.call("PATCH", path, json=[{"name": "free", "value": 7}]).status_code == 200
    assert kept() == {"device_type": DEVICE_TYPE, "modules": ["a", "b"], "free": 7}
    assert device.call("PUT", path, json=[{"name": "free", "value": "8"}]).status_code == 200
    assert kept() == {"free": "8"}
    for wrong in ({}, [1], [{"value": 1}], [{"name": "x", "value": {"y": 1}}], [{"name": "x", "value": None}]):
        assert device.call("PUT", path, json=wrong).status_code == 400
    assert kept() == {"free": "8"}
    assert device.call("PUT", path, data=b" " * (1 << 20) + json.dumps([]).encode()).status_code == 413
