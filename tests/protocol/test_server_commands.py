# SPDX-License-Identifier: Apache-2.0
"""The operator's commands against a running server: accept, upload, deploy, watch."""

import json
import os
import signal
import subprocess
import threading
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.conftest import DEPLOYMENTS, Device, Operator, Server, command, environment, run_cli


@pytest.fixture
def said(server: Server) -> Callable[..., list[dict[str, Any]]]:
    """What a command prints as JSON, line by line."""

    def run(*words: str, code: int = 0) -> list[dict[str, Any]]:
        done = run_cli(*words, *where(server), "--json")
        assert done.returncode == code, done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


def where(server: Server) -> tuple[str, ...]:
    database = ("--database", server.database) if server.database else ()
    return ("--dir", str(server.folder), *database)


def test_from_nothing_to_a_deployment_that_ended_well(
    said: Callable[..., list[dict[str, Any]]],
    new_device: Callable[..., Device],
    operator: Operator,
    write_artifact: Callable[..., Path],
):
    device, name = new_device(), uuid.uuid4().hex
    assert device.authenticate().status_code == 401
    device_id = operator.device(device.identity)["id"]
    assert device_id in said("accept", "--all")[0]["accepted"]
    assert said("accept", "--all") == [{"accepted": []}]
    assert device.authenticate().status_code == 200
    (uploaded,) = said("upload", str(write_artifact(name)), "--description", "from the command line: ä")
    assert (uploaded["name"], uploaded["signed"]) == (name, False)
    shown = operator.get(f"/api/management/v1/deployments/artifacts/{uploaded['id']}")
    assert shown["description"] == "from the command line: ä"
    (made,) = said("deploy", name, "--to", device_id, "--phase", "50%+1s", "--retries", "1", "--halt-at", "50")
    kept = operator.get(f"{DEPLOYMENTS}/{made['deployment']}")
    assert (kept["retries"], kept["failure_limit"]["percent"], len(kept["phases"])) == (1, 50, 2)

    def work() -> None:
        assert device.poll().status_code == 200
        for status in ("downloading", "installing", "success"):
            assert device.report(made["deployment"], status) == 204

    worker = threading.Thread(target=work)
    worker.start()
    steps = said("watch", made["deployment"])
    worker.join()
    assert (steps[-1]["status"], steps[-1]["devices"]) == ("finished", {"success": 1})


def test_a_deployment_that_ends_badly_is_said(
    server: Server,
    said: Callable[..., list[dict[str, Any]]],
    operator: Operator,
    device: Device,
    write_artifact: Callable[..., Path],
):
    name = uuid.uuid4().hex
    said("upload", str(write_artifact(name)))
    words = command("deploy", name, "--all", "--name", "night", "--watch", *where(server))
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True, env=environment()) as process:
        assert process.stdout is not None
        deployment = process.stdout.readline().split()[1]
        assert process.stdout.readline().startswith("pending: ")
        assert device.poll().status_code == 200
        assert device.report(deployment, "failure") == 204
        path = f"{DEPLOYMENTS}/{deployment}/status"
        assert operator.call("PUT", path, json={"status": "aborted"}).status_code in (204, 422)
        last = process.stdout.read().splitlines()[-1]
        assert process.wait(30) == 1
    assert last.startswith("finished")
    assert "1 failure" in last


def test_from_elsewhere_with_a_token(server: Server, operator: Operator, tmp_path: Path):
    token = tmp_path / "token"
    token.write_text(operator.token + "\n")
    far = ("--server", server.url, "--ca", server.ca)
    done = run_cli("accept", "--all", *far, "--token-file", str(token))
    assert (done.returncode, done.stderr) == (0, "")
    nobody = {key: value for key, value in environment().items() if key != "BOOTPROOF_TOKEN"}
    words = command("accept", "--all", *far)
    run = subprocess.run(words, capture_output=True, text=True, env=nobody, timeout=60)
    assert (run.returncode, "BOOTPROOF_TOKEN" in run.stderr) == (2, True)
    run = subprocess.run(
        words, capture_output=True, text=True, env={**nobody, "BOOTPROOF_TOKEN": operator.token}, timeout=60
    )
    assert run.returncode == 0, run.stderr
    untrusted = run_cli("accept", "--all", "--server", server.url, "--token-file", str(token))
    assert untrusted.returncode == 4
    assert "--ca" in untrusted.stderr


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("accept",), 2),
        (("accept", "unknown"), 2),
        (("accept", "--all", "unknown"), 2),
        (("upload", "/nonexistent"), 2),
        (("upload", os.devnull), 2),
        (("deploy", "never-uploaded", "--all"), 2),
        (("deploy", "x"), 2),
        (("deploy", "x", "--all", "--group", "g"), 2),
        (("deploy", "x", "--all", "--phase", "ten"), 2),
        (("deploy", "x", "--all", "--phase", "0%"), 2),
        (("deploy", "x", "--all", "--phase", "0"), 2),
        (("deploy", "x", "--all", "--phase", "101%"), 2),
        (("deploy", "x", "--all", "--halt-at", "nan"), 2),
        (("deploy", "x", "--all", "--halt-at", "0"), 2),
        (("deploy", "x", "--all", "--retries", "-1"), 2),
        (("deploy", "x", "--all", "--retries", "101"), 2),
        (("watch", "unknown"), 2),
        (("watch", "../unknown"), 2),
        (("watch", ""), 2),
    ],
)
def test_what_cannot_be_done_is_said_in_one_sentence(words: tuple[str, ...], code: int, server: Server):
    done = run_cli(*words, *where(server))
    assert done.returncode == code, done.stderr
    assert done.stdout == ""
    assert done.stderr.count("\n") == 1
    assert done.stderr.endswith(".\n")


def test_a_server_that_is_not_there(tmp_path: Path):
    done = run_cli("accept", "--all", "--dir", str(tmp_path))
    assert done.returncode == 2
    assert "start one" in done.stderr
    done = run_cli("accept", "--all")
    assert (done.returncode, "--dir" in done.stderr) == (2, True)
    (tmp_path / "token").write_text("x")
    done = run_cli("accept", "--all", "--server", "https://127.0.0.1:1", "--token-file", str(tmp_path / "token"))
    assert done.returncode == 4
    assert "does not answer" in done.stderr


def test_an_upload_that_is_refused_names_the_file(server: Server, write_artifact: Callable[..., Path], tmp_path: Path):
    broken = tmp_path / "broken.mender"
    broken.write_bytes(b"nothing of the kind")
    name = uuid.uuid4().hex
    done = run_cli("upload", str(write_artifact(name)), str(broken), *where(server))
    assert (done.returncode, done.stdout.count(name)) == (2, 1)
    assert done.stderr.startswith(f"{broken}: The file is not a usable artifact")


def test_who_was_accepted_is_said_also_beside_one_who_was_not(server: Server, operator: Operator, new_device):
    device = new_device()
    assert device.authenticate().status_code == 401
    known = operator.device(device.identity)["id"]
    done = run_cli("accept", known, "nobody", *where(server))
    assert (done.returncode, done.stdout) == (2, f"Accepted {known}\n")
    assert "nobody" in done.stderr
    assert known not in done.stderr


@pytest.mark.parametrize("content", [b"\xff\xfe", b"one\ntwo", "tökén".encode()])
def test_a_token_that_is_none_is_said(content: bytes, tmp_path: Path):
    token = tmp_path / "token"
    token.write_bytes(content)
    done = run_cli("accept", "--all", "--server", "https://127.0.0.1:1", "--token-file", str(token))
    assert (done.returncode, done.stderr) == (
        2,
        f"{token} holds no token: a token is one line of letters and digits.\n",
    )


@pytest.mark.parametrize("url", ["", "127.0.0.1:8443", "ftp://127.0.0.1", "https://", "https://a b"])
def test_an_address_that_is_none_is_said(url: str, tmp_path: Path):
    (tmp_path / "token").write_text("x")
    done = run_cli("accept", "--all", "--server", url, "--token-file", str(tmp_path / "token"))
    assert done.returncode == 2
    assert "is not the address of a server" in done.stderr


@pytest.mark.parametrize("content", ["x", "{}", "[]", "7"])
def test_an_address_that_was_damaged_is_said(content: str, tmp_path: Path):
    (tmp_path / "address.json").write_text(content)
    done = run_cli("accept", "--all", "--dir", str(tmp_path))
    assert done.returncode == 4
    assert "start the server again" in done.stderr


def test_who_hears_no_more_ends_a_command_without_a_word(server: Server):
    reader, writer = os.pipe()
    os.close(reader)
    words = command("accept", "--all", *where(server))
    done = subprocess.run(words, stdout=writer, stderr=subprocess.PIPE, text=True, env=environment(), timeout=60)
    os.close(writer)
    assert (done.returncode, done.stderr) == (128 + signal.SIGPIPE, "")
