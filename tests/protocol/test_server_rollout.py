# SPDX-License-Identifier: Apache-2.0
"""Roll-out over a fleet: phases, pauses, retries, the automatic halt, filters, and the choice of the artifact."""

import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from tests.protocol.conftest import DEPLOYMENTS, DEVICE_DEPLOYMENTS, DEVICES, MANAGEMENT, Device, Operator

V2 = "/api/management/v2/deployments/deployments"


@pytest.fixture(scope="module", autouse=True)
def artifact(operator: Operator, write_artifact: Callable[..., Path]) -> None:
    assert operator.upload(write_artifact("new")).status_code == 201


@pytest.fixture
def fleet(accepted_device: Callable[[], Device]) -> list[Device]:
    return [accepted_device() for _ in range(5)]


def order(operator: Operator, fleet: list[Device], **more: Any) -> str:
    return operator.deploy("new", *(one.id for one in fleet), **more)


def act(operator: Operator, deployment: str, status: str) -> int:
    return operator.call("PUT", f"{DEPLOYMENTS}/{deployment}/status", json={"status": status}).status_code


def begun(fleet: list[Device]) -> int:
    """How many of the fleet are given the artifact now."""
    return sum(one.poll().status_code == 200 for one in fleet)


def test_a_phase_lets_its_part_begin_and_the_next_waits_for_the_operator(fleet: list[Device], operator: Operator):
    deployment = order(
        operator, fleet, phases=[{"batch_size": 20}, {"device_count": 2, "pause": True}, {"pause": True}]
    )
    assert begun(fleet) == 1
    assert begun(fleet) == 1
    assert act(operator, deployment, "inprogress") == 204
    assert begun(fleet) == 3
    shown = operator.get(f"{DEPLOYMENTS}/{deployment}")
    assert [one["start_ts"] is None for one in shown["phases"]] == [False, False, True]
    parts = operator.get(f"{DEPLOYMENTS}/{deployment}/devices")
    assert sorted(one["phase"] for one in parts if one["phase"] is not None) == [0, 1, 1]
    assert act(operator, deployment, "inprogress") == 204
    assert begun(fleet) == 5
    assert act(operator, deployment, "inprogress") == 422
    for one in fleet:
        assert one.report(deployment, "success") == 204
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["status"] == "finished"
    assert act(operator, deployment, "inprogress") == 422


def test_a_phase_opens_by_time(fleet: list[Device], operator: Operator):
    order(operator, fleet, phases=[{"device_count": 1, "delay": 1, "delayUnit": "seconds"}, {}])
    assert begun(fleet) >= 1
    until = time.monotonic() + 30
    while begun(fleet) < 5:
        assert time.monotonic() < until
        time.sleep(0.1)


def test_a_start_in_the_future_is_waited_for(fleet: list[Device], operator: Operator):
    later = datetime.now(UTC) + timedelta(days=1)
    deployment = order(operator, fleet, start_ts=later.isoformat())
    assert begun(fleet) == 0
    shown = operator.get(f"{DEPLOYMENTS}/{deployment}")
    assert (shown["status"], shown["phases"][0]["start_ts"][:10]) == ("pending", later.isoformat()[:10])
    # What waits does not hold up what is urgent.
    urgent = order(operator, fleet[:1], name="urgent")
    assert fleet[0].poll().json()["id"] == urgent


def test_a_pause_lets_nobody_begin_and_those_that_have_begun_go_on(fleet: list[Device], operator: Operator):
    deployment = order(operator, fleet)
    assert begun(fleet[:2]) == 2
    assert act(operator, deployment, "paused") == 204
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["state"] == "paused"
    assert begun(fleet) == 2
    assert fleet[0].report(deployment, "success") == 204
    assert act(operator, deployment, "inprogress") == 204
    assert begun(fleet[1:]) == 4


def test_a_failure_is_tried_again_as_often_as_was_said(device: Device, operator: Operator):
    deployment = order(operator, [device], retries=1)
    assert device.poll().status_code == 200
    assert device.report(deployment, "installing") == 204
    assert device.report(deployment, "failure") == 204
    # The same word once more, as after an answer that was lost, is not a second failure.
    assert device.report(deployment, "failure") == 204
    part = operator.part(deployment, device.id)
    assert (part["status"], part["attempts"], part["finished"]) == ("pending", 1, None)
    assert device.poll().status_code == 200
    assert device.report(deployment, "failure") == 204
    part = operator.part(deployment, device.id)
    assert (part["status"], part["attempts"]) == ("failure", 1)
    assert [one["status"] for one in part["history"]] == ["installing", "failure", "pending", "failure", "failure"]
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["status"] == "finished"
    assert device.poll().status_code == 204


def test_too_many_failures_halt_the_deployment(fleet: list[Device], operator: Operator):
    deployment = order(operator, fleet, failure_limit={"percent": 50, "minimum_devices": 2})
    assert begun(fleet[:3]) == 3
    assert fleet[0].report(deployment, "failure") == 204
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["state"] == "running"
    assert fleet[1].report(deployment, "success") == 204
    assert fleet[2].report(deployment, "failure") == 204
    shown = operator.get(f"{DEPLOYMENTS}/{deployment}")
    assert (shown["state"], shown["status"], shown["reason"]) == (
        "halted",
        "inprogress",
        "2 of 3 devices have failed.",
    )
    assert begun(fleet[3:]) == 0
    assert act(operator, deployment, "inprogress") == 204
    assert begun(fleet[3:]) == 2
    assert fleet[3].report(deployment, "failure") == 204
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["state"] == "running"


def test_a_deployment_to_a_group_is_for_those_that_are_in_it(fleet: list[Device], operator: Operator):
    ids = [one.id for one in fleet[:2]]
    path = f"{MANAGEMENT}/inventory/groups/kitchen/devices"
    assert operator.call("PATCH", path, json=ids).json() == {"matched_count": 2, "updated_count": 2}
    answer = operator.call("POST", f"{DEPLOYMENTS}/group/kitchen", json={"name": "g", "artifact_name": "new"})
    assert answer.status_code == 201, answer.text
    shown = operator.get(answer.headers["Location"])
    assert (shown["device_count"], shown["groups"]) == (2, ["kitchen"])
    assert begun(fleet) == 2
    empty = operator.call("POST", f"{DEPLOYMENTS}/group/attic", json={"name": "g", "artifact_name": "new"})
    assert empty.status_code == 400


def test_a_deployment_to_a_filter_takes_in_those_that_come_to_fit_it(fleet: list[Device], operator: Operator):
    terms = [{"scope": "inventory", "attribute": "site", "type": "$eq", "value": "oslo"}]
    wanted = {"name": "f", "artifact_name": "new", "filter": {"terms": terms}, "max_devices": 3}
    fleet[0].tell(site="oslo")
    answer = operator.call("POST", V2, json=wanted)
    assert answer.status_code == 201, answer.text
    location = answer.headers["Location"]
    assert operator.get(location)["initial_device_count"] == 3
    assert begun(fleet) == 1
    deployment = location.rpartition("/")[2]
    assert fleet[0].report(deployment, "success") == 204
    assert operator.get(location)["status"] == "inprogress"
    fleet[1].tell(site="oslo")
    fleet[2].tell(site="rome")
    assert begun(fleet[1:]) == 1
    for one in fleet[2:]:
        one.tell(site="oslo")
    # The third is the last there is room for.
    assert begun(fleet[2:]) == 1
    for one in fleet[1:3]:
        assert one.report(deployment, "success") == 204
    assert operator.get(location)["status"] == "finished"
    assert operator.get(location)["device_count"] == 3


def test_a_filter_deployment_that_starts_later_wakes_who_was_told_there_is_nothing(device: Device, operator: Operator):
    device.tell(floor="second")
    terms = [{"scope": "inventory", "attribute": "floor", "type": "$eq", "value": "second"}]
    begin = (datetime.now(UTC) + timedelta(seconds=3)).isoformat()
    wanted = {"name": "later", "artifact_name": "new", "filter": {"terms": terms}, "start_ts": begin}
    assert operator.call("POST", V2, json=wanted).status_code == 201
    until = time.monotonic() + 25
    codes = [device.poll().status_code]
    while codes[-1] == 204:
        assert time.monotonic() < until
        time.sleep(0.2)
        codes.append(device.poll().status_code)
    assert codes[-1] == 200


def test_a_filter_deployment_that_is_aborted_takes_in_nobody(device: Device, operator: Operator):
    terms = [{"scope": "inventory", "attribute": "ward", "type": "$exists", "value": True}]
    answer = operator.call("POST", V2, json={"name": "f", "artifact_name": "new", "filter": {"terms": terms}})
    deployment = answer.headers["Location"].rpartition("/")[2]
    assert act(operator, deployment, "aborted") == 204
    device.tell(ward=7)
    assert device.poll().status_code == 204
    assert operator.get(answer.headers["Location"])["status"] == "finished"


def test_a_saved_filter_is_a_target(device: Device, operator: Operator):
    terms = [{"scope": "tags", "attribute": "ring", "type": "$in", "value": ["alpha", "beta"]}]
    made = operator.call("POST", "/api/management/v2/inventory/filters", json={"name": "early birds", "terms": terms})
    assert made.status_code == 201
    filter_id = made.headers["Location"].rpartition("/")[2]
    wanted = {"name": "early", "artifact_name": "new", "filter_id": filter_id}
    assert operator.call("POST", V2, json=wanted).status_code == 201
    assert device.poll().status_code == 204
    tags = [{"name": "ring", "value": "beta"}]
    assert operator.call("PUT", f"{MANAGEMENT}/inventory/devices/{device.id}/tags", json=tags).status_code == 200
    assert device.poll().status_code == 200


def test_an_abort_for_one_device_leaves_the_others(fleet: list[Device], operator: Operator):
    deployment = order(operator, fleet[:2])
    assert begun(fleet[:2]) == 2
    assert operator.call("DELETE", f"{DEPLOYMENTS}/devices/{fleet[0].id}").status_code == 204
    assert fleet[0].report(deployment, "installing") == 409
    assert fleet[1].report(deployment, "success") == 204
    assert operator.get(f"{DEPLOYMENTS}/{deployment}")["status"] == "finished"
    assert operator.get(f"{DEPLOYMENTS}/{deployment}/statistics")["aborted"] == 1


def test_a_device_s_deployments_and_its_history(device: Device, operator: Operator):
    first, second = (order(operator, [device], name=name) for name in ("first", "second"))
    assert device.report(second, "failure") == 204
    shown = operator.get(f"{DEPLOYMENTS}/devices/{device.id}")
    assert [(one["deployment"]["id"], one["device"]["status"]) for one in shown] == [
        (second, "failure"),
        (first, "pending"),
    ]
    assert device.poll().status_code == 204
    # What a later deployment says is forgotten, so the first is given after all.
    assert operator.call("DELETE", f"{DEPLOYMENTS}/devices/{device.id}/history").status_code == 204
    assert device.poll().json()["id"] == first
    assert len(operator.get(f"{DEPLOYMENTS}/devices/{device.id}")) == 1


def test_the_artifact_that_fits_what_the_device_provides_is_chosen(
    device: Device, operator: Operator, write_artifact: Callable[..., Path]
):
    made = {}
    for what, depends in [("delta", {"rootfs-image.checksum": "aa"}), ("whole", {})]:
        size = 5_000 if what == "delta" else 50_000
        answer = operator.upload(write_artifact("fits", size=size, depends=depends))
        assert answer.status_code == 201, answer.text
        made[what] = answer.headers["Location"].rpartition("/")[2]
    for provides, expected in [({}, "whole"), ({"rootfs-image.checksum": "aa"}, "delta")]:
        deployment = operator.deploy("fits", device.id)
        told = device.poll(provides=provides).json()
        assert told["artifact"]["id"] == made[expected]
        assert device.report(deployment, "failure") == 204
    # A client that says only two things of itself when it asks has said the others in its inventory.
    device.tell(device_type="qemu-board", **{"rootfs-image.checksum": "aa"})
    operator.deploy("fits", device.id)
    asked = {"device_type": "qemu-board", "artifact_name": "old"}
    told = device.call("GET", f"{DEVICE_DEPLOYMENTS}/next", params=asked).json()
    assert told["artifact"]["id"] == made["delta"]


def test_nothing_that_fits_is_no_artifact(device: Device, operator: Operator, write_artifact: Callable[..., Path]):
    assert operator.upload(write_artifact("only-delta", depends={"kernel": "5"})).status_code == 201
    deployment = operator.deploy("only-delta", device.id)
    assert device.poll(provides={"kernel": "4"}).status_code == 204
    assert operator.part(deployment, device.id)["status"] == "noartifact"


def test_the_update_control_map_is_given_where_it_is_asked_for(device: Device, operator: Operator):
    wanted = {"priority": 1, "states": {"ArtifactReboot_Enter": {"action": "pause"}}}
    deployment = order(operator, [device], update_control_map=wanted)
    asked = {"device_provides": {"device_type": "qemu-board", "artifact_name": "old"}}
    path = "/api/devices/v2/deployments/device/deployments"
    assert "update_control_map" not in device.call("POST", f"{path}/next", json=asked).json()
    told = device.call("POST", f"{path}/next", json={**asked, "update_control_map": True}).json()
    assert told["update_control_map"] == wanted
    assert device.call("GET", f"{path}/{deployment}/update_control_map").json()["update_control_map"] == wanted
    assert device.call("GET", f"{path}/other/update_control_map").status_code == 404


@pytest.mark.parametrize(
    "wrong",
    [
        {"phases": [{}, {}]},
        {"phases": [{"batch_size": 0}, {}]},
        {"phases": [{"batch_size": 50, "device_count": 1}, {}]},
        {"phases": [{"batch_size": 10, "delayUnit": "years"}, {}]},
        {"phases": [{"batch_size": 10, "start_ts": "2026-01-01T00:00:00"}, {}]},
        {"phases": [{"batch_size": 10, "start_ts": "tomorrow"}, {}]},
        {"start_ts": "0001-01-01T00:00:00+23:59"},
        {"start_ts": "0500-01-01T00:00:00Z"},
        {"start_ts": "9999-12-31T23:59:59-23:59"},
        {"phases": [*[{"device_count": 1, "delay": 100_000, "delayUnit": "days"}] * 99, {}]},
        {"retries": -1},
        {"retries": "2"},
        {"failure_limit": {}},
        {"failure_limit": {"percent": 101}},
        {"max_devices": 5},
        {"group": "kitchen"},
        {"filter_id": "unknown", "devices": None},
        {"filter": {"terms": []}, "devices": None},
    ],
)
def test_orders_that_make_no_sense(wrong: dict[str, Any], device: Device, operator: Operator):
    answer = operator.call(
        "POST", DEPLOYMENTS, json={"name": "n", "artifact_name": "new", "devices": [device.id], **wrong}
    )
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"].endswith(".")
    assert device.poll().status_code == 204


def test_deployments_are_found(device: Device, operator: Operator):
    first = order(operator, [device], name="Spring cleaning")
    second = order(operator, [device], name="spring rain")
    assert device.report(first, "success") == 204

    def found(query: str) -> list[str]:
        return [one["id"] for one in operator.get(f"{DEPLOYMENTS}?{query}") if one["id"] in (first, second)]

    assert found("search=rain") == [second]
    assert found("status=finished&per_page=500") == [first]
    assert found("status=pending&per_page=500") == [second]
    assert found("sort=asc&per_page=500&artifact_name=new") == [first, second]
    assert found("created_before=1000000000") == []
    listed = operator.call("POST", f"{DEPLOYMENTS}/statistics/list", json={"deployment_ids": [first, "unknown"]})
    assert [(one["deployment_id"], one["stats"]["success"]) for one in listed.json()] == [(first, 1)]
    assert operator.get(f"{DEPLOYMENTS}/{first}/device_list") == [device.id]
    assert operator.get(f"{DEPLOYMENTS}/{first}/devices?status=finished")[0]["id"] == device.id
    assert operator.get(f"{DEPLOYMENTS}/{first}/devices/list?status=inprogress") == []


def test_a_deployment_to_all_is_for_the_accepted(fleet: list[Device], operator: Operator):
    counted = operator.get(f"{DEVICES}/count?status=accepted")["count"]
    answer = operator.call("POST", V2, json={"name": "all", "artifact_name": "new", "all_devices": True})
    shown = operator.get(answer.headers["Location"])
    assert shown["device_count"] == counted >= len(fleet)
    assert shown["statistics"]["status"]["pending"] == counted
    assert act(operator, shown["id"], "aborted") == 204
    assert operator.get(answer.headers["Location"])["statistics"]["status"]["aborted"] == counted
