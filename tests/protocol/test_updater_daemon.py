# SPDX-License-Identifier: Apache-2.0
"""The daemon as a process against the real server: it asks at once when it is told to, and ends when it is told to."""

import json
import os
import select
import signal
import subprocess
import sys
import time
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.conftest import Operator, Server
from tests.unit.small_device import MODULE, ROOT, SmallDevice

# It is about the client, which sees no database.
DATABASES = ("sqlite",)
PATIENCE = 30.0


def wait(until: Callable[[], Any]) -> Any:
    """Poll, because a process says nothing by itself."""
    end = time.monotonic() + PATIENCE
    while not (found := until()):
        assert time.monotonic() < end, "it did not happen"
        time.sleep(0.05)
    return found


class Running:
    """A small device whose daemon runs, and by itself asks for nothing after its first round."""

    def __init__(self, folder: Path, server: Server, operator: Operator) -> None:
        self.operator, self.identity = operator, {"mac": uuid.uuid4().hex}
        self.device = SmallDevice(folder).make()
        config = {
            "ServerURL": server.url,
            "ServerCertificate": server.ca,
            "UpdatePollIntervalSeconds": 100_000,
            "InventoryPollIntervalSeconds": 100_000,
            "RetryPollIntervalSeconds": 50,
        }
        (folder / "conf/mender.conf").write_text(json.dumps(config))
        share = folder / "share"
        for name, said in (
            ("identity/mender-device-identity", f"mac={self.identity['mac']}"),
            ("inventory/mender-inventory-one", f"mood=$(cat {folder}/mood)"),
        ):
            (share / name).parent.mkdir()
            self.device.program(share / name, f"#!/bin/sh\necho {said}\n")
        (folder / "mood").write_text("calm\n")
        self.process = self.start()

    def start(self) -> subprocess.Popen[bytes]:
        folder = self.device.folder
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MENDER_CONF_DIR": str(folder / "conf"),
            "MENDER_DATASTORE_DIR": str(self.device.data),
            "MENDER_DATA_DIR": str(folder / "share"),
        }
        argv = [sys.executable, "-m", "updater", "--time-scale", "0.01", "daemon"]
        with (folder / "stderr").open("ab") as errors:
            return subprocess.Popen(argv, env=env, stderr=errors, cwd=ROOT)

    @property
    def id(self) -> str:
        return str(self.operator.device(self.identity)["id"])

    def inventory(self) -> dict[str, Any]:
        answer = self.operator.call("GET", f"/api/management/v1/inventory/devices/{self.id}")
        return {one["name"]: one["value"] for one in answer.json().get("attributes", ())} if answer.ok else {}

    def known(self) -> bool:
        devices = self.operator.get("/api/management/v2/devauth/devices?per_page=500")
        return any(one["identity_data"] == self.identity for one in devices)

    def accept(self) -> None:
        wait(self.known)
        self.operator.decide(self.identity, "accepted")
        wait(lambda: self.inventory().get("mood") == "calm")

    def end(self) -> None:
        self.process.terminate()
        assert self.process.wait(PATIENCE) == 0

    def command(self, word: str) -> None:
        done = self.device.run(word)
        assert done.returncode == 0, done


@pytest.fixture
def running(tmp_path: Path, server: Server, operator: Operator) -> Iterator[Running]:
    found = Running(tmp_path, server, operator)
    yield found
    found.process.kill()
    found.process.wait()


def test_it_asks_and_tells_at_once_when_it_is_told_to(running: Running, operator: Operator) -> None:
    running.accept()
    artifact = running.device.artifact(name=f"app-{uuid.uuid4().hex[:8]}")
    assert operator.upload(artifact).status_code == 201
    deployment = operator.deploy(artifact.stem, running.id)
    (running.device.folder / "mood").write_text("cheerful\n")
    running.command("check-update")
    wait(lambda: operator.part(deployment, running.id)["status"] == "success")
    assert running.device.installed == artifact.stem
    wait(lambda: running.inventory().get(f"rootfs-image.{MODULE}.version") == artifact.stem)
    assert running.inventory()["mood"] == "cheerful"
    (running.device.folder / "mood").write_text("tired\n")
    running.command("send-inventory")
    wait(lambda: running.inventory().get("mood") == "tired")


def test_signals_that_come_together_are_all_answered(running: Running) -> None:
    running.accept()
    (running.device.folder / "mood").write_text("torn\n")
    running.process.send_signal(signal.SIGUSR1)
    running.process.send_signal(signal.SIGUSR2)
    wait(lambda: running.inventory().get("mood") == "torn")
    assert running.process.poll() is None


def test_a_signal_before_it_has_begun_to_wait_does_not_end_it(running: Running) -> None:
    """The identity script, which it runs long before its first round, tells it to ask and to tell."""
    running.accept()
    running.end()
    script = running.device.folder / "share/identity/mender-device-identity"
    told = running.device.folder / "told"
    lines = f"kill -USR1 $PPID && kill -USR2 $PPID && touch {told}"
    running.device.program(script, script.read_text().replace("echo", f"{lines}\necho"))
    (running.device.folder / "mood").write_text("woken\n")
    running.process = running.start()
    wait(lambda: running.inventory().get("mood") == "woken")
    assert told.exists()
    assert running.process.poll() is None


def test_what_a_killed_one_left_behind_is_ended_by_the_next(running: Running, operator: Operator) -> None:
    running.accept()
    folder = running.device.folder
    running.device.module(
        ArtifactInstall=f"sleep 300 >/dev/null 2>&1 & echo $! >{folder}/left; kill -9 $PPID; sleep 300"
    )
    artifact = running.device.artifact(name=f"app-{uuid.uuid4().hex[:8]}")
    assert operator.upload(artifact).status_code == 201
    deployment = operator.deploy(artifact.stem, running.id)
    running.command("check-update")
    assert running.process.wait(PATIENCE) == -signal.SIGKILL
    handle = os.pidfd_open(int((folder / "left").read_text()))
    assert not select.select([handle], [], [], 0)[0], "it outlives the daemon"
    running.process = running.start()
    assert select.select([handle], [], [], PATIENCE)[0]
    os.close(handle)
    wait(lambda: operator.part(deployment, running.id)["status"] == "failure")


def test_one_whose_record_is_damaged_starts_again_and_says_so(running: Running, operator: Operator) -> None:
    running.accept()
    running.end()
    record = running.device.data / "bootproof-store"
    record.write_bytes(b"junk" * 1000)
    running.process = running.start()
    wait(lambda: running.inventory().get("incident_store_lost") == "1")
    assert running.inventory()["artifact_name"] == "old", "as the system says that it was made"
    assert record.with_suffix(".damaged").read_bytes() == b"junk" * 1000
    assert b"set aside" in (running.device.folder / "stderr").read_bytes()
    artifact = running.device.artifact(name=f"app-{uuid.uuid4().hex[:8]}")
    assert operator.upload(artifact).status_code == 201
    deployment = operator.deploy(artifact.stem, running.id)
    running.command("check-update")
    wait(lambda: operator.part(deployment, running.id)["status"] == "success")
    assert running.device.installed == artifact.stem


def test_it_ends_when_it_is_told_to_and_only_one_runs(running: Running) -> None:
    running.accept()
    second = running.start()
    assert second.wait(PATIENCE) == 1
    assert b"already running" in (running.device.folder / "stderr").read_bytes()
    running.end()
    assert running.device.run("check-update").returncode == 1
