# SPDX-License-Identifier: Apache-2.0
"""Debian's mender-client 3.4 and mender-cli take this server for the one they know, and our updater does as they do."""

import time
import uuid
from collections.abc import Callable
from itertools import groupby
from pathlib import Path
from typing import Any, TypeVar

import pytest

from tests.protocol.conftest import ARTIFACTS, DEPLOYMENTS, DEVICES, MANAGEMENT, PASSWORD, Operator, Server
from tests.protocol.foreign import DEVICE_TYPE, ForeignClient, mender_cli, tools
from tests.protocol.own import OwnClient
from updater.artifact import write_module_artifact

Found = TypeVar("Found")
Client = ForeignClient | OwnClient
# It is about the client, which sees no database.
DATABASES = ("sqlite",)
# Seconds, for a daemon that looks every second.
PATIENCE = 60


def wait_for(look: Callable[[], Found | None], client: Client) -> Found:
    until = time.monotonic() + PATIENCE
    while not (found := look()):
        assert time.monotonic() < until, client.log()[-8000:]
        time.sleep(0.2)
    return found


@pytest.fixture(params=["mender-client", "ours"])
def client(request: pytest.FixtureRequest, server: Server, tmp_path: Path) -> Client:
    made: Client = OwnClient(tmp_path / "client")
    if request.param == "mender-client":
        made = ForeignClient(tools(), tmp_path / "client")
    made.prepare(server.url, server.ca)
    return made


def module_artifact(folder: Path, name: str, payload_type: str, content: bytes) -> Path:
    file, path = folder / "payload", folder / f"{name}.mender"
    file.write_bytes(content)
    with path.open("wb") as out:
        write_module_artifact(out, payload_type=payload_type, files=[file], name=name, device_types=[DEVICE_TYPE])
    return path


def test_the_client_is_let_in_reports_and_takes_an_artifact(client: Client, operator: Operator, tmp_path: Path):
    good, bad = (f"{what}-{uuid.uuid4().hex[:8]}" for what in ("good", "bad"))
    proof = tmp_path / "proof"
    ok = module_artifact(tmp_path, good, "script", f"#!/bin/sh\necho installed > {proof}\n".encode())
    broken = module_artifact(tmp_path, bad, "script", b"#!/bin/sh\necho cannot be done >&2\nexit 7\n")
    for path in (ok, broken):
        assert operator.upload(path).status_code == 201
    with client.running():
        device = wait_for(lambda: pending(operator), client)
        assert operator.call("POST", f"{DEVICES}/accept", json={"devices": [device]}).json()["accepted"] == [device]
        known = wait_for(lambda: inventory(operator, device), client)
        assert (known["device_type"], known["artifact_name"]) == (DEVICE_TYPE, "old")
        assert known["mender_client_version"].startswith(client.version)

        deployment = operator.deploy(good, device)
        part = wait_for(lambda: ended(operator, deployment, device), client)
        assert part["status"] == "success"
        # It says some of them more than once.
        told = [status for status, _ in groupby(one["status"] for one in part["history"])]
        assert told == ["downloading", "installing", "success"]
        assert proof.read_text() == "installed\n"

        deployment = operator.deploy(bad, device)
        part = wait_for(lambda: ended(operator, deployment, device), client)
        assert part["status"] == "failure"
        log = operator.call("GET", f"{DEPLOYMENTS}/{deployment}/devices/{device}/log").text
        assert "cannot be done" in log
        # The module knows no way back, and the client says so by the name.
        wait_for(lambda: runs(operator, device, f"{bad}_INCONSISTENT"), client)


def test_a_client_that_is_aborted_stops(client: Client, operator: Operator, tmp_path: Path):
    name = f"slow-{uuid.uuid4().hex[:8]}"
    assert operator.upload(module_artifact(tmp_path, name, "script", b"#!/bin/sh\nsleep 4\n")).status_code == 201
    with client.running():
        device = wait_for(lambda: pending(operator), client)
        operator.call("POST", f"{DEVICES}/accept", json={"devices": [device]})
        deployment = operator.deploy(name, device)
        wait_for(lambda: operator.part(deployment, device)["status"] == "installing", client)
        abort = f"{DEPLOYMENTS}/{deployment}/status"
        assert operator.call("PUT", abort, json={"status": "aborted"}).status_code == 204
        wait_for(lambda: "aborted" in client.log(), client)
        assert operator.part(deployment, device)["status"] == "aborted"


def pending(operator: Operator) -> str | None:
    found = operator.get(f"{DEVICES}?status=pending")
    return str(found[-1]["id"]) if found else None


def inventory(operator: Operator, device: str) -> dict[str, Any] | None:
    found = operator.get(f"{MANAGEMENT}/inventory/devices/{device}")["attributes"]
    told = {one["name"]: one["value"] for one in found if one["scope"] == "inventory"}
    return told if "mender_client_version" in told else None


def runs(operator: Operator, device: str, name: str) -> bool:
    known = inventory(operator, device)
    return known is not None and known["artifact_name"] == name


def ended(operator: Operator, deployment: str, device: str) -> dict[str, Any] | None:
    part = operator.part(deployment, device)
    return part if part["status"] in ("success", "failure") and (part["status"] == "success" or part["log"]) else None


def test_the_operator_s_tool_logs_in_uploads_and_lists(server: Server, operator: Operator, tmp_path: Path):
    name = f"cli-{uuid.uuid4().hex[:8]}"
    path = module_artifact(tmp_path, name, "script", b"#!/bin/sh\n")
    # It knows no option for a certificate authority, only not to look.
    there = ("--server", server.url, "--skip-verify")
    logged = mender_cli(tmp_path, "login", *there, "--username", "operator", "--password", PASSWORD)
    assert logged.returncode == 0, logged.stderr
    wrong = mender_cli(tmp_path / "other", "login", *there, "--username", "operator", "--password", "wrong horse")
    assert wrong.returncode != 0
    uploaded = mender_cli(tmp_path, "artifacts", "upload", *there, "--no-progress", str(path))
    assert uploaded.returncode == 0, uploaded.stderr
    assert [one["name"] for one in operator.get(f"{ARTIFACTS}?name={name}")] == [name]
    again = mender_cli(tmp_path, "artifacts", "upload", *there, "--no-progress", str(path))
    assert again.returncode != 0
    listed = mender_cli(tmp_path, "artifacts", "list", *there)
    assert name in listed.stdout, listed.stderr
    devices = mender_cli(tmp_path, "devices", "list", *there)
    assert devices.returncode == 0, devices.stderr
    (known,) = operator.get(f"{ARTIFACTS}?name={name}")
    gone = mender_cli(tmp_path, "artifacts", "delete", *there, known["id"])
    assert gone.returncode == 0, gone.stderr
    assert operator.get(f"{ARTIFACTS}?name={name}") == []
