# SPDX-License-Identifier: Apache-2.0
"""The fleet for the operator: search by every operator and scope, groups, tags, named filters, pages, numbers."""

import re
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.protocol.conftest import DEVICES, MANAGEMENT, Device, Operator

SEARCH = "/api/management/v2/inventory/filters/search"
FILTERS = "/api/management/v2/inventory/filters"
GROUPS = f"{MANAGEMENT}/inventory/groups"


@pytest.fixture
def fleet(accepted_device: Callable[[], Device]) -> dict[str, Device]:
    """Three devices that differ; told from all others on the server by a word."""
    run = uuid.uuid4().hex
    told: dict[str, dict[str, Any]] = {
        "a": {"cpu": "arm64", "ram": 512, "nets": ["eth0", "wlan0"], "site": "Oslo"},
        "b": {"cpu": "arm", "ram": 64.5, "nets": [], "site": "Bergen"},
        "c": {"cpu": "7", "ram": 1024},
    }
    fleet = {}
    for name, attributes in told.items():
        fleet[name] = accepted_device()
        fleet[name].tell(name=name, run=run, **attributes)
    fleet["a"].run = run  # type: ignore[attr-defined]
    return fleet


def term(attribute: str, operator: str, value: Any, scope: str = "inventory") -> dict[str, Any]:
    return {"scope": scope, "attribute": attribute, "type": operator, "value": value}


def found(operator: Operator, fleet: dict[str, Device], *terms: dict[str, Any], **more: Any) -> list[str]:
    mine = term("run", "$eq", fleet["a"].run)  # type: ignore[attr-defined]
    answer = operator.call("POST", SEARCH, json={"filters": [mine, *terms], **more})
    assert answer.status_code == 200, answer.text
    names = {device.id: name for name, device in fleet.items()}
    return [names[one["id"]] for one in answer.json()]


@pytest.mark.parametrize(
    ("attribute", "operation", "value", "expected"),
    [
        ("cpu", "$eq", "arm", "b"),
        ("cpu", "$ne", "arm", "ac"),
        ("site", "$ne", "Oslo", "bc"),
        ("cpu", "$in", ["arm", "7", 7], "bc"),
        ("cpu", "$in", [], ""),
        ("site", "$nin", ["Oslo", "Rome"], "bc"),
        ("ram", "$eq", 512, "a"),
        ("ram", "$eq", "512", ""),
        ("cpu", "$eq", 7, ""),
        ("ram", "$gt", 64.5, "ac"),
        ("ram", "$gte", 64.5, "abc"),
        ("ram", "$lt", 512, "b"),
        ("ram", "$lte", 512, "ab"),
        ("cpu", "$gt", "arm", "a"),
        ("ram", "$in", [512, 1024], "ac"),
        ("site", "$exists", True, "ab"),
        ("site", "$exists", False, "c"),
        ("nets", "$eq", "wlan0", "a"),
        ("nets", "$exists", True, "ab"),
        ("nets", "$ne", "wlan0", "bc"),
        ("cpu", "$regex", "^arm", "ab"),
        ("cpu", "$regex", r"^\d+$", "c"),
        ("site", "$regex", "en$", "b"),
    ],
)
def test_each_operator(attribute, operation, value, expected, fleet: dict[str, Device], operator: Operator):
    assert found(operator, fleet, term(attribute, operation, value)) == list(expected)


def test_each_scope(fleet: dict[str, Device], operator: Operator):
    a = fleet["a"]
    tags = [{"name": "ring", "value": "alpha"}, {"name": "weight", "value": 3}]
    assert operator.call("PUT", f"{MANAGEMENT}/inventory/devices/{a.id}/tags", json=tags).status_code == 200
    assert (
        operator.call("PUT", f"{MANAGEMENT}/inventory/devices/{a.id}/group", json={"group": "x-1"}).status_code == 204
    )
    assert found(operator, fleet, term("mac", "$eq", a.identity["mac"], "identity")) == ["a"]
    assert found(operator, fleet, term("status", "$eq", "accepted", "identity")) == ["a", "b", "c"]
    assert found(operator, fleet, term("ring", "$eq", "alpha", "tags")) == ["a"]
    assert found(operator, fleet, term("group", "$eq", "x-1", "system")) == ["a"]
    assert found(operator, fleet, term("group", "$exists", False, "system")) == ["b", "c"]
    assert found(operator, fleet, term("group", "$ne", "x-1", "system")) == ["b", "c"]
    assert found(operator, fleet, term("created_ts", "$gt", "2020", "system")) == ["a", "b", "c"]
    patch = [{"name": "ring", "value": "beta"}]
    assert operator.call("PATCH", f"{MANAGEMENT}/inventory/devices/{a.id}/tags", json=patch).status_code == 200
    shown = operator.get(f"{MANAGEMENT}/inventory/devices/{a.id}")["attributes"]
    assert {one["name"]: one["value"] for one in shown if one["scope"] == "tags"} == {"ring": "beta", "weight": 3}
    assert operator.call("PUT", f"{MANAGEMENT}/inventory/devices/{a.id}/tags", json=[]).status_code == 200
    assert found(operator, fleet, term("ring", "$exists", True, "tags")) == []


def test_the_order_and_the_pages(fleet: dict[str, Device], operator: Operator):
    by_ram = {"sort": [{"scope": "inventory", "attribute": "ram", "order": "desc"}]}
    assert found(operator, fleet, **by_ram) == ["c", "a", "b"]
    by_site = {"sort": [{"scope": "inventory", "attribute": "site"}]}
    assert found(operator, fleet, **by_site) == ["c", "b", "a"]
    assert found(operator, fleet, **by_ram, page=2, per_page=2) == ["b"]
    wanted = {"device_ids": [fleet["b"].id, "unknown"]}
    assert found(operator, fleet, **wanted) == ["b"]


@pytest.mark.parametrize(
    "wrong",
    [
        term("x", "$regex", "(a"),
        term("x", "$regex", "(?=a)"),
        term("x", "$regex", "a" * 1000),
        term("x", "$exists", "yes"),
        term("x", "$in", "one"),
        term("x", "$eq", ["one"]),
        term("x", "$near", "one"),
        term("x", "$eq", "one", "elsewhere"),
        term("", "$eq", "one"),
        term("x", "$eq", None),
        term("x", "$gt", 1e300),
    ],
)
def test_terms_that_make_no_sense(wrong: dict[str, Any], operator: Operator):
    answer = operator.call("POST", SEARCH, json={"filters": [wrong]})
    assert answer.status_code == 400, answer.text
    assert operator.call("POST", FILTERS, json={"name": "wrong", "terms": [wrong]}).status_code == 400


def test_a_pattern_that_takes_others_for_ever_is_quick(device: Device, operator: Operator):
    device.tell(long="a" * 5000 + "!")
    answer = operator.call("POST", SEARCH, json={"filters": [term("long", "$regex", "^(a+)+$")]})
    assert (answer.status_code, answer.json()) == (200, [])


def test_groups(fleet: dict[str, Device], operator: Operator):
    ids = [device.id for device in fleet.values()]
    name = f"g-{uuid.uuid4().hex}"
    put = operator.call("PATCH", f"{GROUPS}/{name}/devices", json=[*ids[:2], "unknown"])
    assert put.json() == {"matched_count": 2, "updated_count": 2}
    assert operator.call("PATCH", f"{GROUPS}/{name}/devices", json=ids[:1]).json()["updated_count"] == 0
    assert name in operator.get(GROUPS)
    assert operator.get(f"{GROUPS}/{name}/devices") == ids[:2]
    listed = operator.get(f"{MANAGEMENT}/inventory/devices?group={name}&per_page=1")
    assert [one["id"] for one in listed] == ids[:1]
    assert operator.get(f"{MANAGEMENT}/inventory/devices/{ids[0]}/group") == {"group": name}
    assert operator.call("DELETE", f"{MANAGEMENT}/inventory/devices/{ids[0]}/group/other").status_code == 404
    assert operator.call("DELETE", f"{MANAGEMENT}/inventory/devices/{ids[0]}/group/{name}").status_code == 204
    assert operator.get(f"{MANAGEMENT}/inventory/devices/{ids[0]}/group") == {"group": None}
    assert operator.call("DELETE", f"{GROUPS}/{name}/devices", json=ids).json()["updated_count"] == 1
    assert name not in operator.get(GROUPS)
    assert operator.call("GET", f"{GROUPS}/{name}/devices").status_code == 404
    assert operator.call("DELETE", f"{GROUPS}/{name}").status_code == 404
    assert operator.call("PATCH", f"{GROUPS}/no%20spaces/devices", json=ids).status_code == 400
    assert (
        operator.call("PUT", f"{MANAGEMENT}/inventory/devices/{ids[0]}/group", json={"group": "ä"}).status_code == 400
    )


def test_named_filters(fleet: dict[str, Device], operator: Operator):
    name = f"f-{uuid.uuid4().hex}"
    mine = term("run", "$eq", fleet["a"].run)  # type: ignore[attr-defined]
    wanted = {"name": name, "terms": [mine, term("ram", "$gt", 100)]}
    made = operator.call("POST", FILTERS, json=wanted)
    assert made.status_code == 201
    assert operator.call("POST", FILTERS, json=wanted).status_code == 409
    location = made.headers["Location"]
    assert operator.get(location)["terms"] == wanted["terms"]
    assert name in {one["name"] for one in operator.get(f"{FILTERS}?per_page=500")}
    assert {one["id"] for one in operator.get(f"{location}/search")} == {fleet["a"].id, fleet["c"].id}
    assert operator.call("DELETE", location).status_code == 204
    assert operator.call("DELETE", location).status_code == 404
    assert operator.call("GET", location).status_code == 404


def test_a_list_comes_in_pages_that_name_each_other(fleet: dict[str, Device], operator: Operator):
    assert fleet
    total = operator.get(f"{DEVICES}/count")["count"]
    seen: list[str] = []
    path: str | None = f"{DEVICES}?per_page=2&status=accepted"
    while path:
        answer = operator.call("GET", path)
        assert answer.headers["X-Total-Count"] == str(operator.get(f"{DEVICES}/count?status=accepted")["count"])
        links = {relation: url for url, relation in re.findall(r'<([^>]*)>; rel="(\w+)"', answer.headers["Link"])}
        assert "status=accepted" in links["first"]
        assert ("prev" in links) is bool(seen)
        seen += [one["id"] for one in answer.json()]
        path = links.get("next")
    assert len(seen) == len(set(seen)) <= total
    assert {device.id for device in fleet.values()} <= set(seen)
    for wrong in ("page=0", "per_page=0", "per_page=501", "page=x", "page=-1"):
        assert operator.call("GET", f"{DEVICES}?{wrong}").status_code == 400


def test_numbers_and_names(fleet: dict[str, Device], operator: Operator):
    version = f"v-{uuid.uuid4().hex}"
    for device in fleet.values():
        device.tell(artifact_name=version)
    numbers = operator.get("/api/management/v2/inventory/statistics")
    assert numbers["by_artifact_name"][version] == 3
    assert numbers["by_status"]["accepted"] >= 3
    names = {(one["scope"], one["name"]): one["count"] for one in operator.get(f"{FILTERS}/attributes")}
    assert names["identity", "mac"] >= names["inventory", "artifact_name"] >= 3


def test_keys_are_dismissed_and_tokens_revoked(device: Device, operator: Operator):
    (auth_set,) = operator.device(device.identity)["auth_sets"]
    assert operator.call("DELETE", f"/api/management/v2/devauth/tokens/{auth_set['id']}").status_code == 204
    assert device.poll().status_code == 401
    operator.decide(device.identity, "accepted")
    assert device.poll().status_code == 204
    assert operator.call("DELETE", f"{DEVICES}/{device.id}/auth/{auth_set['id']}").status_code == 204
    assert device.poll().status_code == 401
    assert operator.call("GET", f"{DEVICES}/{device.id}").status_code == 404
    assert operator.call("DELETE", "/api/management/v2/devauth/tokens/unknown").status_code == 404


def test_many_are_accepted_at_once(new_device: Callable[..., Device], operator: Operator):
    waiting = [new_device() for _ in range(3)]
    for one in waiting:
        assert one.authenticate().status_code == 401
    ids = [operator.device(one.identity)["id"] for one in waiting]
    accept = f"{DEVICES}/accept"
    assert operator.call("POST", accept, json={"devices": ids[:1]}).json() == {"accepted": ids[:1]}
    rest = operator.call("POST", accept, json={}).json()["accepted"]
    assert set(ids[1:]) <= set(rest)
    assert operator.call("POST", accept, json={}).json() == {"accepted": []}
    assert all(one.authenticate().status_code == 200 for one in waiting)


def test_devices_by_their_ids(fleet: dict[str, Device], operator: Operator):
    asked = {"id": [fleet["a"].id, fleet["b"].id], "status": "accepted"}
    answer = operator.call("POST", f"{DEVICES}/search", json=asked)
    assert {one["id"] for one in answer.json()} == {fleet["a"].id, fleet["b"].id}
    assert operator.call("POST", f"{DEVICES}/search", json={**asked, "status": ["pending"]}).json() == []
