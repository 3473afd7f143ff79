# SPDX-License-Identifier: Apache-2.0
"""A deployment from its creation to its end: what devices are told, what they report, what the operator sees."""

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.conftest import ARTIFACTS, DEPLOYMENTS, DEVICE_DEPLOYMENTS, DEVICE_TYPE, DEVICES, Device, Operator

STAMP = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


@pytest.fixture(scope="module", autouse=True)
def artifact(operator: Operator, write_artifact: Callable[..., Path]) -> str:
    answer = operator.upload(write_artifact("new"))
    assert answer.status_code == 201, answer.text
    return answer.headers["Location"].rpartition("/")[2]


def came(part: dict[str, Any]) -> list[tuple[str, str]]:
    return [(one["status"], one["by"]) for one in part["history"]]


def test_nothing_to_do_leaves_a_check_in(device: Device, operator: Operator):
    assert operator.device(device.identity)["check_in_time"] is None
    assert device.poll().status_code == 204
    assert STAMP.fullmatch(operator.device(device.identity)["check_in_time"])


def test_all_three_routes_give_the_deployment(device: Device, operator: Operator, artifact: str):
    deployment = operator.deploy("new", device.id)
    asked = {"device_type": DEVICE_TYPE, "artifact_name": "old"}
    v2 = "/api/devices/v2/deployments/device/deployments/next"
    answers = [
        device.call("POST", v2, json={"device_provides": {**asked, "rootfs-image.version": "old"}}),
        device.call("POST", f"{DEVICE_DEPLOYMENTS}/next", json=asked),
        device.call("GET", f"{DEVICE_DEPLOYMENTS}/next", params=asked),
    ]
    for answer in answers:
        assert answer.status_code == 200
        told = answer.json()
        assert told["id"] == deployment
        assert told["artifact"]["id"] == artifact
        assert told["artifact"]["artifact_name"] == "new"
        assert told["artifact"]["device_types_compatible"] == [DEVICE_TYPE]
        assert told["artifact"]["source"]["uri"].startswith(device.server.url + "/")
        assert STAMP.fullmatch(told["artifact"]["source"]["expire"])
    assert device.call("POST", v2, json=asked).status_code == 400
    assert device.call("GET", f"{DEVICE_DEPLOYMENTS}/next").status_code == 400


def test_the_link_names_the_server_as_the_device_does(device: Device, operator: Operator):
    operator.deploy("new", device.id)
    told = device.poll(headers={"Host": "10.0.2.2:8443"}).json()
    assert told["artifact"]["source"]["uri"].startswith("https://10.0.2.2:8443/artifacts/download/")


def test_a_deployment_goes_its_way(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["status"] == "pending"
    assert device.poll().status_code == 200
    steps = ["downloading", "installing", "installing", "rebooting", "success"]
    for status in steps:
        assert device.report(deployment, status, substate=f"while {status}") == 204
        expected = "finished" if status == "success" else "inprogress"
        assert operator.get(f"{DEPLOYMENTS}/{deployment}")["status"] == expected
    part = operator.part(deployment, device.id)
    assert (part["status"], part["substate"], part["log"]) == ("success", "while success", False)
    assert part["created"] <= part["started"] <= part["finished"]
    assert came(part) == [(status, "device") for status in steps]
    times = [one["time"] for one in part["history"]]
    assert times == sorted(times)
    counts = operator.get(f"{DEPLOYMENTS}/{deployment}/statistics")
    assert counts.pop("success") == 1
    assert len(counts) == 12
    assert not any(counts.values())
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["finished"]
    assert device.poll("new").status_code == 204


def test_a_last_word_may_be_taken_back_but_not_by_one_that_was_late(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    device.poll()
    assert [device.report(deployment, status) for status in ("success", "failure")] == [204, 204]
    ended = operator.part(deployment, device.id)
    assert ended["status"] == "failure"
    assert device.report(deployment, "installing") == 204
    part = operator.part(deployment, device.id)
    assert (part["status"], part["finished"]) == ("failure", ended["finished"])
    assert came(part)[-1] == ("installing", "device")
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["status"] == "finished"


def test_reports_that_are_refused(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    for status in ("pending", "aborted", "decommissioned", "noartifact", "fine", ""):
        assert device.report(deployment, status) == 400
    assert device.report("unknown", "success") == 404
    assert operator.part(deployment, device.id)["history"] == []


def test_an_aborted_deployment_refuses_reports(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    device.poll()
    assert device.report(deployment, "downloading") == 204
    path = f"{DEPLOYMENTS}/{deployment}/status"
    assert operator.call("PUT", path, json={"status": "success"}).status_code == 400
    assert operator.call("PUT", path, json={"status": "aborted"}).status_code == 204
    assert device.report(deployment, "installing") == 409
    assert device.poll().status_code == 204
    part = operator.part(deployment, device.id)
    assert came(part) == [
        ("downloading", "device"),
        ("aborted", "operator"),
    ]
    assert operator.call("PUT", path, json={"status": "aborted"}).status_code == 422


def test_a_later_deployment_that_the_operator_ends_leaves_the_earlier_one(device: Device, operator: Operator):
    first = operator.deploy("new", device.id)
    second = operator.deploy("new", device.id, name="the same once more")
    assert operator.call("PUT", f"{DEPLOYMENTS}/{second}/status", json={"status": "aborted"}).status_code == 204
    assert device.poll().json()["id"] == first
    assert device.report(first, "success") == 204


def test_what_is_installed_is_not_installed_again_unless_forced(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    assert device.poll("new").status_code == 204
    part = operator.part(deployment, device.id)
    assert (part["status"], part["history"][0]["by"]) == ("already-installed", "server")
    operator.deploy("new", device.id, force_installation=True)
    assert device.poll("new").status_code == 200


def test_a_device_of_another_type_gets_no_artifact(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    asked = {"device_type": "toaster", "artifact_name": "old"}
    assert device.call("POST", f"{DEVICE_DEPLOYMENTS}/next", json=asked).status_code == 204
    assert operator.part(deployment, device.id)["status"] == "noartifact"


def test_a_device_that_asks_as_another_during_its_deployment_has_failed(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    assert device.poll("old").status_code == 200
    assert device.report(deployment, "installing") == 204
    assert device.poll("new").status_code == 409
    part = operator.part(deployment, device.id)
    assert came(part) == [("installing", "device"), ("failure", "server")]
    assert device.poll("new").status_code == 204


def test_deployments_come_oldest_first(device: Device, operator: Operator):
    first, second = (operator.deploy("new", device.id, name=name) for name in ("one", "two"))
    assert device.poll().json()["id"] == first
    assert device.report(first, "failure") == 204
    assert device.poll().json()["id"] == second


def test_a_deployment_never_begun_is_skipped_after_a_later_one_has_ended(device: Device, operator: Operator):
    first, second = (operator.deploy("new", device.id, name=name) for name in ("one", "two"))
    assert device.report(second, "success") == 204
    assert device.poll().status_code == 204
    assert operator.part(first, device.id)["status"] == "pending"


def test_orders_that_cannot_be_carried_out(device: Device, operator: Operator):
    order = {"name": "n", "artifact_name": "new", "devices": [device.id]}
    for status, wrong in [
        (422, {"artifact_name": "never uploaded"}),
        (400, {"devices": ["unknown"]}),
        (400, {"devices": []}),
        (400, {"devices": "all"}),
        (400, {"name": ""}),
        (400, {"all_devices": True}),
    ]:
        assert operator.call("POST", DEPLOYMENTS, json={**order, **wrong}).status_code == status, wrong
    assert operator.call("POST", DEPLOYMENTS, json=order).status_code == 201
    assert operator.call("POST", DEPLOYMENTS, json=order).status_code == 409
    assert operator.call("GET", f"{DEPLOYMENTS}/unknown").status_code == 404


def test_all_devices_are_the_accepted_ones(device: Device, new_device: Callable[..., Device], operator: Operator):
    assert device.id
    new_device().authenticate()
    order = {"name": "everybody", "artifact_name": "new", "all_devices": True}
    location = operator.call("POST", DEPLOYMENTS, json=order).headers["Location"]
    accepted = operator.get(f"{DEVICES}/count?status=accepted")["count"]
    assert operator.get(location)["device_count"] == accepted >= 1
    assert operator.get(location)["id"] in {one["id"] for one in operator.get(f"{DEPLOYMENTS}?per_page=500")}
    assert operator.call("PUT", f"{location}/status", json={"status": "aborted"}).status_code == 204


def test_a_log_can_be_read_after_a_failure(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    path = f"{DEVICE_DEPLOYMENTS}/{deployment}/log"
    shown = f"{DEPLOYMENTS}/{deployment}/devices/{device.id}/log"
    assert operator.call("GET", shown).status_code == 404
    line = {"timestamp": "2024-05-06T07:08:09Z", "level": "error", "message": "no – space"}
    for wrong in ({}, {"messages": []}, {"messages": [{**line, "timestamp": "today"}]}, {"messages": [{"level": "x"}]}):
        assert device.call("PUT", path, json=wrong).status_code == 400
    assert device.call("PUT", path, json={"messages": [line]}).status_code == 204
    assert operator.part(deployment, device.id)["log"] is True
    answer = operator.call("GET", shown)
    assert answer.text == "2024-05-06T07:08:09Z error: no – space\n"
    many = {"messages": [{**line, "message": "x" * 1000}] * 1100}
    assert device.call("PUT", path, json=many).status_code == 413


def test_decommissioning_ends_a_device_s_part(device: Device, operator: Operator):
    deployment = operator.deploy("new", device.id)
    assert operator.call("DELETE", f"{DEVICES}/{device.id}").status_code == 204
    assert operator.part(deployment, device.id)["status"] == "decommissioned"
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["status"] == "finished"


def test_an_artifact_in_use_is_not_deleted(device: Device, operator: Operator, write_artifact: Callable[..., Path]):
    location = operator.upload(write_artifact("short-lived")).headers["Location"]
    deployment = operator.deploy("short-lived", device.id)
    assert operator.call("DELETE", location).status_code == 409
    assert device.report(deployment, "failure") == 204
    assert operator.call("DELETE", location).status_code == 204
    assert operator.call("DELETE", location).status_code == 404
    assert operator.part(deployment, device.id)["status"] == "failure"
    assert all(one["name"] != "short-lived" for one in operator.get(f"{ARTIFACTS}?per_page=500"))
