# SPDX-License-Identifier: Apache-2.0
"""Faults on request, as a client sees them on the wire: each rule does what it says, and nothing happens unasked."""

import re
import shutil
import signal
import threading
from collections.abc import Callable, Iterator
from email.utils import parsedate_to_datetime
from http.client import IncompleteRead
from pathlib import Path
from typing import Any

import pytest
import requests

from tests.protocol.conftest import DEVICE_DEPLOYMENTS, MANAGEMENT, PASSWORD, Operator, Server
from tests.protocol.faulty import FAULTS, JOURNAL, Faulty, faulty

NEXT = f"{DEVICE_DEPLOYMENTS}/next?device_type=qemu-board&artifact_name=old"
CLOSE = {"Connection": "close"}


@pytest.fixture(scope="module")
def running(
    prepared: Path, tmp_path_factory: pytest.TempPathFactory, write_artifact: Callable[..., Path]
) -> Iterator[Faulty]:
    with faulty(prepared, tmp_path_factory.mktemp("faulty"), write_artifact) as made:
        yield made


@pytest.fixture
def lab(running: Faulty) -> Iterator[Faulty]:
    yield running
    running.heal()


def rule(kind: str, *, times: int | None = None, **more: Any) -> dict[str, Any]:
    """A rule; what is not the rule's own is the fault's."""
    own = {name: more.pop(name) for name in ("where", "device", "skip") if name in more}
    return {"fault": {"kind": kind, **more}, "times": times, **own}


# -- answers -----------------------------------------------------------------------------------------------------------


def test_another_answer_twice_and_then_the_true_one(lab: Faulty):
    device, seq = lab.device(), lab.last()
    lab.inject(rule("answer", status=503, headers={"Retry-After": "7"}, body="no", where="next", times=2))
    answers = [device.poll() for _ in range(3)]
    assert [one.status_code for one in answers] == [503, 503, 204]
    assert answers[0].headers["Retry-After"] == "7"
    assert answers[0].text == "no"
    assert lab.named(seq) == ["answer", "answer", None]
    assert [(one["met"], one["fired"]) for one in lab.operator.get(FAULTS)] == [(3, 2)]
    entry = lab.operator.get(f"{JOURNAL}?after={seq}")[0]
    assert (entry["device"], entry["status"], entry["bytes"]) == (device.id, 503, 2)


@pytest.mark.parametrize("where", ["auth", "next", "status", "log", "inventory", "control", "download"])
def test_every_kind_of_request_can_be_answered_wrongly(lab: Faulty, where: str):
    uri, _ = lab.link()
    device = lab.device()
    calls: dict[str, Callable[[], Any]] = {
        "auth": device.authenticate,
        "next": device.poll,
        "status": lambda: device.call("PUT", f"{DEVICE_DEPLOYMENTS}/some/status", json={"status": "installing"}),
        "log": lambda: device.call("PUT", f"{DEVICE_DEPLOYMENTS}/some/log", json={"messages": []}),
        "inventory": lambda: device.call("PUT", "/api/devices/v1/inventory/device/attributes", json=[]),
        "control": lambda: device.call("GET", f"{DEVICE_DEPLOYMENTS}/some/update_control_map".replace("v1", "v2", 1)),
        "download": lambda: device.server.http.get(uri, timeout=30),
    }
    lab.inject(rule("answer", status=418, where=where))
    assert {name for name, call in calls.items() if call().status_code == 418} == {where}


def test_a_wrong_answer_to_an_idle_poll_reaches_one_device_only(lab: Faulty):
    one, two = lab.device(), lab.device()
    for device in (one, two):
        for _ in range(2):  # from now on it is answered from memory
            assert device.poll().status_code == 204
    lab.inject(rule("answer", status=500, device=one.id, skip=1))
    assert [one.poll().status_code for _ in range(3)] == [204, 500, 500]
    assert two.poll().status_code == 204


def test_rules_are_tried_in_order_and_one_more_comes_last(lab: Faulty):
    device = lab.device()
    lab.inject(rule("answer", status=501, times=1), rule("answer", status=502, times=1))
    assert lab.operator.call("POST", FAULTS, json=rule("answer", status=503)).status_code == 204
    assert [device.poll().status_code for _ in range(4)] == [501, 502, 503, 503]
    assert lab.fired() == [1, 1, 2]


# -- connections -------------------------------------------------------------------------------------------------------


def test_a_connection_is_reset_before_any_answer(lab: Faulty):
    uri, _ = lab.link()
    lab.inject(rule("cut", times=1))
    seq = lab.last()
    seen = lab.see(uri)
    assert (seen.status, seen.end) == (0, "reset")
    assert lab.named(seq) == ["cut"]
    assert lab.see(uri, **CLOSE).status == 200


@pytest.mark.parametrize("after", [0, 1, 5_000, 1_000_000])
def test_a_download_is_cut_at_exactly_that_byte(lab: Faulty, after: int):
    uri, whole = lab.link(size=3_000_000)
    lab.inject(rule("cut", after=after, times=1))
    seen = lab.see(uri)
    assert (seen.status, seen.end) == (200, "reset")
    assert seen.headers["content-length"] == str(len(whole))
    assert seen.body == whole[:after]
    rest = lab.see(uri, Range=f"bytes={after}-", **CLOSE)
    assert (rest.status, seen.body + rest.body, lab.fired()) == (206, whole, [1])


def test_a_cut_behind_the_end_waits_for_a_longer_answer(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("cut", after=len(whole), times=1), rule("answer", status=500))
    assert lab.see(uri, **CLOSE).body == whole
    assert lab.fired() == [0, 0]
    longer, _ = lab.link(size=40_000)
    assert lab.see(longer).end == "reset"
    assert lab.fired() == [1, 0]


def test_a_short_answer_can_be_cut_too(lab: Faulty):
    device, _, _ = lab.promised()
    lab.inject(rule("cut", after=10, where="next", times=1))
    with pytest.raises(requests.RequestException):
        device.poll()
    assert device.poll().status_code == 200
    assert lab.fired() == [1]


@pytest.mark.parametrize("after", [None, 0, 1_000])
def test_a_stall_lasts_until_the_client_gives_up(lab: Faulty, after: int | None):
    uri, _ = lab.link()
    lab.inject(rule("stall", after=after))
    came = bytearray()
    with pytest.raises(requests.RequestException), requests.Session() as own:
        read_for_ever(own, uri, lab.server.ca, came)
    assert len(came) == (after or 0)
    assert lab.fired() == [1]


def read_for_ever(session: requests.Session, uri: str, ca: str, came: bytearray) -> None:
    """Read until nothing comes for a while, which is a RequestException."""
    session.trust_env = False
    for piece in session.get(uri, verify=ca, stream=True, timeout=1).iter_content(1):
        came += piece


def test_after_a_stall_with_an_end_all_goes_on(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("stall", after=1_000, seconds=0.2, times=1), rule("stall", seconds=0.2, times=1))
    for _ in range(2):
        assert lab.see(uri, **CLOSE).body == whole
    assert lab.fired() == [1, 1]


def test_others_are_served_during_a_stall(lab: Faulty):
    uri, whole = lab.link()
    one, two = lab.device(), lab.device()
    lab.inject(rule("stall", device=one.id))
    with pytest.raises(requests.Timeout):
        one.server.http.post(one.server.url + NEXT, headers={"Authorization": f"Bearer {one.token}"}, timeout=0.5)
    assert two.poll().status_code == 204
    assert lab.see(uri, **CLOSE).body == whole


def test_a_slow_body_comes_whole(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("slow", bytes_per_second=200_000), rule("answer", status=500))
    assert lab.see(uri, **CLOSE).body == whole
    assert lab.fired() == [1, 0]


def test_a_server_ends_in_the_middle_of_a_stall(prepared: Path, tmp_path: Path, write_artifact: Callable[..., Path]):
    with faulty(prepared, tmp_path, write_artifact) as lab:
        uri, _ = lab.link()
        lab.inject(rule("stall"))
        ends: list[str] = []
        waiting = threading.Thread(target=lambda: ends.append(lab.see(uri).end))
        waiting.start()
        while lab.fired() != [1]:
            pass
        assert lab.server.end(signal.SIGTERM) == 0
        waiting.join(60)
        assert ends[0] != "open"
        lab.server.start()


# -- what answers say of themselves ------------------------------------------------------------------------------------


def test_a_length_that_is_too_large_ends_too_early(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("length", off_by=100))
    seen = lab.see(uri)
    assert (seen.status, seen.end, seen.body) == (200, "closed", whole)
    assert seen.headers["content-length"] == str(len(whole) + 100)
    with pytest.raises((IncompleteRead, requests.RequestException), match="IncompleteRead"):
        lab.server.http.get(uri, timeout=30)


def test_a_length_that_is_too_small_leaves_the_rest_behind_the_answer(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("length", off_by=-100))
    seq = lab.last()
    seen = lab.see(uri)
    assert (seen.status, seen.end, seen.body) == (200, "closed", whole)
    assert seen.headers["content-length"] == str(len(whole) - 100)
    assert lab.server.http.get(uri, timeout=30).content == whole[:-100]
    assert lab.operator.get(f"{JOURNAL}?after={seq}")[0]["bytes"] == len(whole)
    lab.inject(rule("length", off_by=-(1 << 20), where="download"))
    assert lab.see(uri).headers["content-length"] == "0"


def test_an_answer_without_a_body_has_no_wrong_length(lab: Faulty):
    device = lab.device()
    lab.inject(rule("length", off_by=5, times=1))
    assert device.poll().status_code == 204
    assert lab.fired() == [0]


@pytest.mark.parametrize(
    ("says", "pattern"),
    [
        ("wrong_start", r"bytes 1001-{last}/{size}"),
        ("wrong_end", r"bytes 1000-{before}/{size}"),
        ("wrong_total", r"bytes 1000-{last}/{more}"),
        ("missing", ""),
        ("garbled", r"bytes abc-def/deadbeef"),
    ],
)
def test_a_wrong_content_range_over_the_right_bytes(lab: Faulty, says: str, pattern: str):
    uri, whole = lab.link()
    size = len(whole)
    lab.inject(rule("content_range", says=says))
    seen = lab.see(uri, Range="bytes=1000-", **CLOSE)
    assert (seen.status, seen.body) == (206, whole[1000:])
    assert seen.headers.get("content-range", "") == pattern.format(
        last=size - 1, before=size - 2, size=size, more=size + 1
    )
    assert lab.see(uri, **CLOSE).status == 200
    assert lab.fired() == [1]


def test_a_range_that_is_ignored(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("content_range", says="whole", times=1))
    seen = lab.see(uri, Range="bytes=1000-", **CLOSE)
    assert (seen.status, seen.body, seen.headers.get("content-range")) == (200, whole, None)
    assert lab.see(uri, Range="bytes=1000-", **CLOSE).status == 206
    assert lab.fired() == [1]


def test_a_range_that_is_called_unsatisfiable(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("unsatisfiable", times=1))
    assert lab.see(uri, **CLOSE).status == 200
    seen = lab.see(uri, Range="bytes=1000-", **CLOSE)
    assert (seen.status, seen.headers["content-range"]) == (416, f"bytes */{len(whole)}")
    assert lab.see(uri, Range="bytes=1000-", **CLOSE).status == 206
    assert lab.operator.get(JOURNAL)[-2]["range"] == "bytes=1000-"


def test_corrupted_bytes_are_the_same_in_the_whole_and_in_the_rest(lab: Faulty):
    uri, whole = lab.link()
    lab.inject(rule("corrupt", at=5_000, length=10, flip=1))
    other = whole[:5_000] + bytes(one ^ 1 for one in whole[5_000:5_010]) + whole[5_010:]
    assert lab.see(uri, **CLOSE).body == other
    assert lab.see(uri, Range="bytes=5005-", **CLOSE).body == other[5_005:]
    assert lab.see(uri, Range="bytes=5010-", **CLOSE).body == whole[5_010:]
    assert lab.fired() == [2]
    lab.inject(rule("corrupt", at=0, length=len(whole), fill=7))
    assert lab.see(uri, **CLOSE).body == b"\7" * len(whole)


@pytest.mark.parametrize("off_by", [86_400, -86_400])
def test_a_clock_that_is_off(lab: Faulty, off_by: int):
    device, _, _ = lab.promised()
    before = device.poll()
    lab.inject(rule("clock", off_by=off_by, where="next"))
    after = device.poll()
    dates = [parsedate_to_datetime(one.headers["Date"]).timestamp() for one in (before, after)]
    assert dates[1] - dates[0] == pytest.approx(off_by, abs=3_600)
    assert re.fullmatch(r"[^,]+, [^,]+ GMT", after.headers["Date"])
    ends = [float(one.json()["artifact"]["source"]["uri"].split("token=")[1].split(".")[1]) for one in (before, after)]
    assert ends[1] - ends[0] == pytest.approx(off_by, abs=3_600)


def test_a_clock_that_is_far_ahead_lets_tokens_and_links_expire(lab: Faulty):
    uri, _ = lab.link()
    device = lab.device()
    assert device.poll().status_code == 204
    lab.inject(rule("clock", off_by=8 * 86_400))
    assert device.poll().status_code == 401
    assert lab.see(uri, **CLOSE).status == 403
    assert device.authenticate().status_code == 200
    assert device.poll().status_code == 204
    lab.heal()
    lab.operator.deploy(lab.operator.get(f"{MANAGEMENT}/deployments/artifacts")[0]["name"], device.id)
    assert device.poll().status_code == 200


# -- the interface -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "told",
    [
        {"fault": {"kind": "unheard_of"}},
        {"fault": {"kind": "cut"}, "where": "nowhere"},
        {"fault": {"kind": "corrupt", "at": 0}, "where": "next"},
        {"fault": {"kind": "answer", "status": 204, "body": "x"}},
        {"fault": {"kind": "rollback", "artifact": "nothing-of-the-kind"}},
        {"fault": {"kind": "cut"}, "more": 1},
    ],
)
def test_a_bad_rule_gets_one_sentence_and_changes_nothing(lab: Faulty, told: dict[str, Any]):
    lab.inject(rule("answer", status=500))
    for method, body in (("PUT", [told]), ("POST", told)):
        answer = lab.operator.call(method, FAULTS, json=body)
        assert answer.status_code == 400
        assert re.fullmatch(r"[^\n]+[.!]", answer.json()["error"]), answer.text
    assert [one["rule"]["fault"]["kind"] for one in lab.operator.get(FAULTS)] == ["answer"]


def test_what_was_put_is_shown(lab: Faulty):
    told = [rule("cut", after=5, where="download", device="one", skip=2, times=3), rule("stall")]
    lab.inject(*told)
    shown = lab.operator.get(FAULTS)
    assert [one["rule"]["fault"]["kind"] for one in shown] == ["cut", "stall"]
    assert shown[0]["rule"] == told[0]
    assert [(one["met"], one["fired"]) for one in shown] == [(0, 0), (0, 0)]
    lab.inject(*[one["rule"] for one in shown])
    assert lab.operator.get(FAULTS) == shown
    lab.heal()
    assert lab.operator.get(FAULTS) == []


def test_only_an_administrator_makes_things_go_wrong(lab: Faulty):
    assert lab.server.add_user("deployer", "deployer").returncode == 0
    path = f"{MANAGEMENT}/useradm/auth/login"
    other = Operator(lab.server, lab.server.call("POST", path, auth=("deployer", PASSWORD)).text)
    for method, path in (("GET", FAULTS), ("PUT", FAULTS), ("POST", FAULTS), ("DELETE", FAULTS), ("GET", JOURNAL)):
        assert other.call(method, path, json=[]).status_code == 403
        assert lab.server.call(method, path, json=[]).status_code == 401


def test_there_is_nothing_of_it_without_the_flag(prepared: Path, tmp_path: Path):
    server = Server(shutil.copytree(prepared, tmp_path / "server"), options=())
    server.start()
    try:
        login = server.call("POST", f"{MANAGEMENT}/useradm/auth/login", auth=("operator", PASSWORD))
        operator = Operator(server, login.text)
        for method in ("GET", "PUT", "POST", "DELETE"):
            assert operator.call(method, FAULTS, json=[]).status_code == 404
        assert operator.call("GET", JOURNAL).status_code == 404
        assert login.headers["Date"]
    finally:
        assert server.end(signal.SIGTERM) == 0


def test_a_server_without_tls_breaks_too_but_has_no_wrong_certificates(
    prepared: Path, tmp_path: Path, write_artifact: Callable[..., Path]
):
    with faulty(prepared, tmp_path, write_artifact, "--plain") as lab:
        uri, whole = lab.link()
        assert uri.startswith("http://")
        lab.inject(rule("cut", after=1_000, times=1), rule("length", off_by=-7, times=1))
        seen = lab.see(uri)
        assert (seen.end, seen.body) == ("reset", whole[:1_000])
        seen = lab.see(uri)
        assert (seen.end, seen.body, seen.headers["content-length"]) == ("closed", whole, str(len(whole) - 7))
        answer = lab.operator.call("PUT", FAULTS, json=[rule("certificate", shows="expired")])
        assert answer.status_code == 400
        assert "--plain" in answer.json()["error"]
