# SPDX-License-Identifier: Apache-2.0
"""The server is killed again and again under load: what it has acknowledged is there, and nothing half of the rest."""

import gc
import random
import signal
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest
import requests

from tests.protocol.conftest import ARTIFACTS, DEPLOYMENTS, DEVICE_DEPLOYMENTS, MANAGEMENT, Device, Operator, Server

KILLS = 6
DEVICES_AT_WORK = 6
STEPS = ("downloading", "installing", "rebooting")


@dataclass
class Witness:
    """What was acknowledged, by one client in its own thread."""

    acknowledged: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def report_on(device: Device, deployment: str, told: Witness, ends: threading.Event) -> None:
    """Statuses one after the other, each with a number that is never used again; a lost answer is not asked about."""
    number = 0
    while not ends.is_set():
        number += 1
        status, word = STEPS[number % len(STEPS)], f"{number}"
        try:
            answer = requests.put(
                f"{device.server.url}{DEVICE_DEPLOYMENTS}/{deployment}/status",
                json={"status": status, "substate": word},
                headers={"Authorization": f"Bearer {device.token}"},
                verify=device.server.ca,
                timeout=10,
            )
        except requests.RequestException:
            time.sleep(0.05)
            continue
        if answer.status_code == 204:
            told.acknowledged.append(word)
        else:
            told.problems.append(f"{answer.status_code} {answer.text}")


def upload_on(operator: Operator, write: Callable[..., Path], told: Witness, ends: threading.Event) -> None:
    while not ends.is_set():
        name = uuid.uuid4().hex
        path = write(name, size=3_000_000)
        try:
            with path.open("rb") as file:
                answer = requests.post(
                    operator.server.url + ARTIFACTS,
                    files={"artifact": file},
                    headers={"Authorization": f"Bearer {operator.token}"},
                    verify=operator.server.ca,
                    timeout=10,
                )
        except requests.RequestException:
            time.sleep(0.05)
            continue
        finally:
            path.unlink()
        if answer.status_code == 201:
            told.acknowledged.append(answer.headers["Location"])
        else:
            told.problems.append(f"{answer.status_code} {answer.text}")


# A handshake that a kill cuts off leaves its socket to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed:ResourceWarning")
def test_nothing_acknowledged_is_lost(
    server: Server, operator: Operator, accepted_device: Callable[[], Device], write_artifact: Callable[..., Path]
):
    assert operator.upload(write_artifact("new")).status_code == 201
    fleet = [accepted_device() for _ in range(DEVICES_AT_WORK)]
    deployment = operator.deploy("new", *(one.id for one in fleet))
    # The address stays the same over all the kills.
    port = server.url.rpartition(":")[2]
    server.options = (*server.options, "--listen", f"127.0.0.1:{port}")
    ends = threading.Event()
    reports, uploads = [Witness() for _ in fleet], Witness()
    work = [
        threading.Thread(target=report_on, args=(device, deployment, told, ends))
        for device, told in zip(fleet, reports, strict=True)
    ]
    work.append(threading.Thread(target=upload_on, args=(operator, write_artifact, uploads, ends)))
    for one in work:
        one.start()
    dice = random.Random(604)
    try:
        for _ in range(KILLS):
            time.sleep(dice.uniform(0.2, 1.5))
            assert server.end(signal.SIGKILL) == -signal.SIGKILL
            server.start()
    finally:
        time.sleep(1)
        ends.set()
        for one in work:
            one.join()
        gc.collect()
    assert not [problem for told in (*reports, uploads) for problem in told.problems]
    assert uploads.acknowledged
    parts = {one["id"]: one for one in operator.get(f"{DEPLOYMENTS}/{deployment}/devices")}
    for device, told in zip(fleet, reports, strict=True):
        assert told.acknowledged
        kept = [int(one["substate"]) for one in parts[device.id]["history"]]
        assert kept == sorted(set(kept))
        assert set(map(int, told.acknowledged)) <= set(kept)
        assert parts[device.id]["substate"] == str(kept[-1])
    counts = operator.get(f"{DEPLOYMENTS}/{deployment}/statistics")
    statuses = [part["status"] for part in parts.values()]
    assert {status: number for status, number in counts.items() if number} == {
        status: statuses.count(status) for status in statuses
    }
    check_artifacts(server, operator, uploads.acknowledged)


def check_artifacts(server: Server, operator: Operator, acknowledged: list[str]) -> None:
    """Those that were acknowledged are there to the last byte; and beside the rows' files there are no others."""
    for location in acknowledged:
        link = operator.get(f"{location}/download")["uri"].removeprefix(server.url)
        assert len(server.call("GET", link).content) == operator.get(location)["size"]
    assert server.end(signal.SIGTERM) == 0
    server.start()
    known = {one["id"] for one in operator.get(f"{ARTIFACTS}?per_page=500")}
    assert {path.stem for path in (server.folder / "artifacts").iterdir()} == known
    assert operator.get(f"{MANAGEMENT}/deployments/limits/storage")["usage"] > 0
