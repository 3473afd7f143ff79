# SPDX-License-Identifier: Apache-2.0
"""A fleet as a workshop has one: 60 devices in several versions, a phased deployment under way, failures with logs."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.protocol.conftest import DEVICE_DEPLOYMENTS, DEVICES, MANAGEMENT, Device, Operator, Server, make_key

INVENTORY = "/api/devices/v1/inventory/device/attributes"
SITES = ("harbour", "mill", "depot")
VERSIONS = ("gateway-2.3.0", "gateway-2.3.1", "gateway-2.4.0")
LOG = (
    ("info", "Running Mender client version 4.0.4"),
    ("info", "Deployment with ID begins: downloading the artifact"),
    ("info", "Installing artifact into /dev/vda3"),
    ("warning", "The checksum of block 1742 was read again: the first read differed"),
    ("error", "Cannot write to /dev/vda3: No space left on device"),
    ("error", "Installation failed: Artifact installation failed: Process exited with status 1"),
    ("info", "Rolling back"),
)


@dataclass
class Fleet:
    operator: Operator
    devices: list[Device]
    finished: str
    running: str
    halted: str
    artifact: str
    failed: Device

    @property
    def pages(self) -> dict[str, str]:
        """Every kind of page, by a short name."""
        return {
            "fleet": "/",
            "devices": "/ui/devices",
            "device": f"/ui/devices/{self.failed.id}",
            "artifacts": "/ui/artifacts",
            "artifact": f"/ui/artifacts/{self.artifact}",
            "deployments": "/ui/deployments",
            "start": "/ui/deployments#start",
            "deployment": f"/ui/deployments/{self.running}",
            "halted": f"/ui/deployments/{self.halted}",
            "log": f"/ui/deployments/{self.finished}/devices/{self.failed.id}/log",
            "missing": "/ui/devices/nobody",
        }


def seed(server: Server, operator: Operator, write_artifact: Callable[..., Path]) -> Fleet:
    artifacts = [_upload(operator, write_artifact(name, size=400_000 + 37_123 * n)) for n, name in enumerate(VERSIONS)]
    devices = list(_devices(server, 60))
    _accept_all(operator)
    for number, device in enumerate(devices):
        assert device.authenticate().status_code == 200
        _tell(device, number, VERSIONS[0] if number % 9 else VERSIONS[1])
    for device, known in zip(devices, _ids(operator, devices), strict=True):
        device.id = known
    for number, site in enumerate(SITES):
        ids = [one.id for one in devices[number::4]]
        assert operator.call("PATCH", f"{MANAGEMENT}/inventory/groups/{site}/devices", json=ids).status_code == 200
    finished = operator.deploy(VERSIONS[1], *[one.id for one in devices[:24]], name="2.3.1 to the first site")
    for number, device in enumerate(devices[:24]):
        _run(device, finished, number, fails=number in (5, 11, 17))
    halted = operator.deploy(
        VERSIONS[2], *[one.id for one in devices[:8]], name="2.4.0 trial", failure_limit={"count": 2}
    )
    for number, device in enumerate(devices[:3]):
        _run(device, halted, number, fails=number != 0)
    running = operator.deploy(
        VERSIONS[2],
        *[one.id for one in devices[24:]],
        name="2.4.0 to everybody else",
        phases=[{"batch_size": 25}, {"batch_size": 50, "pause": True}, {"pause": True}],
        failure_limit={"percent": 40, "minimum_devices": 5},
    )
    for number, device in enumerate(devices[24:32]):
        _run(device, running, number, fails=number == 3, last=("success", "installing", "rebooting")[number % 3])
    for device in _devices(server, 3, first=100):
        assert device.authenticate().status_code == 401
    return Fleet(operator, devices, finished, running, halted, artifacts[2], devices[5])


def report_log(device: Device, deployment: str, lines: Sequence[tuple[str, str]] = LOG) -> None:
    messages = [
        {"timestamp": f"2026-01-31T12:00:{second:02d}Z", "level": level, "message": message}
        for second, (level, message) in enumerate(lines)
    ]
    answer = device.call("PUT", f"{DEVICE_DEPLOYMENTS}/{deployment}/log", json={"messages": messages})
    assert answer.status_code == 204


def _upload(operator: Operator, path: Path) -> str:
    answer = operator.upload(path)
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"].rpartition("/")[2]


def _devices(server: Server, many: int, first: int = 0) -> Iterator[Device]:
    for number in range(first, first + many):
        mac = f"02:1b:{number % 7:02x}:9e:4c:{number:02x}"
        device = Device(server, {"mac": mac, "serial": f"GW-{4000 + number}"}, make_key("ed25519"))
        device.authenticate()
        yield device


def _accept_all(operator: Operator) -> None:
    while operator.call("POST", f"{DEVICES}/accept", json={}).json()["accepted"]:
        pass


def _ids(operator: Operator, devices: Sequence[Device]) -> list[str]:
    known = {one["identity_data"]["mac"]: one["id"] for one in operator.get(f"{DEVICES}?per_page=500")}
    return [known[one.identity["mac"]] for one in devices]


def _tell(device: Device, number: int, version: str) -> None:
    told = {
        "device_type": "qemu-board",
        "artifact_name": version,
        "kernel": "6.1.0-18-arm64",
        "ipv4": f"10.20.{number % 3}.{number + 10}",
        "hostname": f"gateway-{4000 + number}",
        "mem_total_kB": 498_232,
        "features": ["can", "modbus", "wifi"],
    }
    body = [{"name": name, "value": value} for name, value in told.items()]
    assert device.call("PATCH", INVENTORY, json=body).status_code == 200


def _run(device: Device, deployment: str, number: int, *, fails: bool = False, last: str = "success") -> None:
    assert device.poll().status_code == 200
    for status in ("downloading", "installing", "rebooting"):
        assert device.report(deployment, status) == 204
        if status == last:
            return
    if fails:
        assert device.report(deployment, "failure") == 204
        report_log(device, deployment)
        return
    assert device.report(deployment, "success") == 204
    _tell(device, number, VERSIONS[1])
