# SPDX-License-Identifier: Apache-2.0
"""The log of a deployment: where its lines are, how many files stay, and what of it is uploaded."""

import json
import logging
import os
from datetime import datetime
from pathlib import Path

import pytest

from updater.deploymentlog import (
    DAMAGED,
    KEPT,
    LINE_LIMIT,
    MESSAGE_LIMIT,
    MESSAGES_LIMIT,
    ROOM,
    UPLOAD_LIMIT,
    DeploymentLog,
)


def emit(log_of: DeploymentLog, message: str, level: int = logging.INFO) -> None:
    log_of.handle(logging.LogRecord("updater", level, "file", 1, message, None, None))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def texts(log_of: DeploymentLog, deployment: str) -> list[str]:
    return [one["message"] for one in log_of.messages(deployment)]


def test_messages_belong_to_their_deployment(tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path)
    emit(log_of, "before any")
    log_of.start("d1")
    emit(log_of, "first\nwith a line break")
    emit(log_of, "second \u2028 ☃", logging.ERROR)
    log_of.start("d2")
    emit(log_of, "x" * 5000)
    log_of.stop()
    emit(log_of, "said when nothing is under way")
    found = log_of.messages("d1")
    assert [(one["level"], one["message"]) for one in found] == [
        ("info", "first\nwith a line break"),
        ("error", "second \u2028 ☃"),
    ]
    assert all(datetime.fromisoformat(one["timestamp"]).tzinfo for one in found)
    assert [len(text) for text in texts(log_of, "d2")] == [MESSAGE_LIMIT]
    assert log_of.messages("d3") == []


def test_the_newest_is_number_0_and_the_others_grow_older(tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path)
    for name in "abc":
        log_of.start(name)
        emit(log_of, f"of {name}")
    assert names(tmp_path) == [f"deployments.000{n}.{name}.log" for n, name in enumerate("cba")]
    assert [texts(log_of, name) for name in "abc"] == [["of a"], ["of b"], ["of c"]]
    for name in "defg":
        log_of.start(name)
    assert names(tmp_path) == [f"deployments.000{n}.{name}.log" for n, name in enumerate("gfedc")]
    assert len(names(tmp_path)) == KEPT


def test_after_a_reboot_the_log_goes_on_in_the_same_file(tmp_path: Path) -> None:
    for message in ("before", "after"):
        log_of = DeploymentLog(tmp_path)
        log_of.start("d")
        emit(log_of, message)
    assert names(tmp_path) == ["deployments.0000.d.log"]
    assert texts(log_of, "d") == ["before", "after"]


def test_a_deployment_that_comes_back_takes_its_log_along(tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path)
    for name in ("a", "b", "c", "a"):
        log_of.start(name)
        emit(log_of, "x")
    assert names(tmp_path) == [f"deployments.000{n}.{name}.log" for n, name in enumerate("acb")]
    assert len(log_of.messages("a")) == 2


@pytest.mark.parametrize(
    "left",
    [
        ["0000.b", "0000.a"],  # as an older version of this program left them
        ["0001.b", "0001.a", "0007.x"],
        ["0003.b", "0004.a", "0004.c", "0005.e", "0006.f"],
        ["0001.d", "0002.d", "0003.a"],
    ],
)
def test_a_power_cut_while_they_are_renumbered_loses_no_order(left: list[str], tmp_path: Path) -> None:
    for age, name in enumerate(left):
        path = tmp_path / f"deployments.{name}.log"
        path.touch()
        os.utime(path, (1000 - age, 1000 - age))
    DeploymentLog(tmp_path).start("d")
    order = [name[5:] for name in left if name[5:] != "d"][: KEPT - 1]
    assert names(tmp_path) == [f"deployments.000{n}.{name}.log" for n, name in enumerate(["d", *order])]


def test_files_of_others_are_left_alone(tmp_path: Path) -> None:
    others = ["deployments.log", "deployments.x.a.log", "deployments.0001.a.log.bak", "mender.conf"]
    for name in others:
        (tmp_path / name).write_text(name)
    log_of = DeploymentLog(tmp_path)
    for number in range(9):
        log_of.start(f"d{number}")
    assert set(others) <= set(names(tmp_path))
    assert len(names(tmp_path)) == len(others) + KEPT


def test_without_room_no_log_begins(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    free = {tmp_path: ROOM - 1}
    log_of = DeploymentLog(tmp_path, free=free.__getitem__)
    log_of.start("d")
    emit(log_of, "x")
    assert names(tmp_path) == []
    assert [record.levelname for record in caplog.records] == ["WARNING"]
    assert f"only {ROOM - 1} bytes are free" in caplog.text
    free[tmp_path] = ROOM
    log_of.start("d")
    emit(log_of, "x")
    assert texts(log_of, "d") == ["x"]


def test_a_medium_that_fails_stops_the_log_and_nothing_else(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    log_of = DeploymentLog(tmp_path / "none")
    log_of.start("d")
    emit(log_of, "x")
    assert log_of.messages("d") == []
    assert "no log of this deployment is kept" in caplog.text
    log_of = DeploymentLog(tmp_path)
    log_of.start("d")
    [path] = tmp_path.iterdir()
    path.unlink()
    path.mkdir()
    emit(log_of, "x")
    emit(log_of, "y")
    assert log_of.messages("d") == []


@pytest.mark.parametrize(
    "damaged",
    [
        bytes(100), b'{"timest', b"\xff\xff", b"[]", b"7", b"", b"[" * 60_000,
        b'{"timestamp": "yesterday", "level": "info", "message": "x"}',
        b'{"timestamp": "2024-01-01", "level": "info", "message": "x"}',
        b'{"timestamp": "2024-01-01T00:00:00", "level": "info", "message": "x"}',
        b'{"timestamp": "20240101T000000Z", "level": "info", "message": "x"}',
        b'{"timestamp": "2024-13-01T00:00:00Z", "level": "info", "message": "x"}',
        b'{"timestamp": "2024-01-01T00:00:00Z", "level": "info", "message": 5}',
        b'{"timestamp": "2024-01-01T00:00:00Z", "level": null, "message": "x"}',
        b'{"timestamp": "2024-01-01T00:00:00Z", "message": "x"}',
        b"x" * (3 * LINE_LIMIT), b"x" * (LINE_LIMIT - 1), b"x" * LINE_LIMIT,
    ],
    ids=lambda line: line[:70].decode("latin-1").replace("\0", "."),
)  # fmt: skip
def test_a_damaged_line_is_replaced_by_one_that_servers_take(damaged: bytes, tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path)
    log_of.start("d")
    emit(log_of, "good")
    [path] = tmp_path.iterdir()
    with path.open("ab") as file:
        file.write(damaged + b"\n")
    emit(log_of, "good again")
    assert texts(log_of, "d") == ["good", DAMAGED, "good again"]
    assert log_of.messages("d")[1]["timestamp"] == log_of.messages("d")[0]["timestamp"]


def test_a_line_that_a_power_cut_tore_does_not_damage_the_next(tmp_path: Path) -> None:
    for torn in (b'{"timestamp": "20', bytes(4096)):
        log_of = DeploymentLog(tmp_path)
        log_of.start("d")
        [path] = tmp_path.iterdir()
        path.write_bytes(torn)
        log_of = DeploymentLog(tmp_path)
        log_of.start("d")
        emit(log_of, "on trial")
        assert texts(log_of, "d") == [DAMAGED, "on trial"]


def test_times_of_other_clients_are_taken(tmp_path: Path) -> None:
    for stamp in ("2024-01-01T00:00:00.123456789Z", "2024-01-01T00:00:00+02:00", "2024-01-01T00:00:00.5-11:30"):
        line = {"timestamp": stamp, "level": "info", "message": "x", "more": 1}
        (tmp_path / "deployments.0000.d.log").write_text(json.dumps(line) + "\n")
        assert DeploymentLog(tmp_path).messages("d") == [{"timestamp": stamp, "level": "info", "message": "x"}]


def test_the_number_of_messages_is_bounded(tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path)
    log_of.start("d")
    for number in range(MESSAGES_LIMIT):
        emit(log_of, str(number))
    assert texts(log_of, "d") == [str(number) for number in range(MESSAGES_LIMIT)]
    for number in range(MESSAGES_LIMIT, MESSAGES_LIMIT + 5):
        emit(log_of, str(number))
    found = texts(log_of, "d")
    assert len(found) == MESSAGES_LIMIT
    assert found[0] == "(6 earlier messages are left out, because the log is too long)"
    assert found[1:] == [str(number) for number in range(6, MESSAGES_LIMIT + 5)]


@pytest.mark.parametrize("limit", [600, 4000, UPLOAD_LIMIT])
def test_the_upload_is_bounded_and_the_newest_is_kept(limit: int, tmp_path: Path) -> None:
    log_of = DeploymentLog(tmp_path, upload_limit=limit)
    log_of.start("d")
    for number in range(400):
        emit(log_of, f"{number} " + "☃" * 700)  # six bytes of JSON each
    found = log_of.messages("d")
    assert len(json.dumps({"messages": found})) <= limit
    kept = [int(one["message"].split()[0]) for one in found[1:]]
    assert kept == list(range(400 - len(kept), 400))
    assert found[0]["message"].startswith(f"({400 - len(kept)} earlier messages")
    if limit == UPLOAD_LIMIT:
        assert len(json.dumps({"messages": found})) > limit - 6000, "and not less than can be"
    assert datetime.fromisoformat(found[0]["timestamp"]).tzinfo


def test_a_report_that_is_retried_for_weeks_does_not_fill_the_disk(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("updater.deploymentlog.LINES_LIMIT", 3)
    log_of = DeploymentLog(tmp_path)
    log_of.start("d")
    for number in range(9):
        emit(log_of, str(number))
    assert texts(log_of, "d") == ["0", "1", "2"]


@pytest.mark.parametrize("name", ["../../etc/passwd", "a/b", "..", "", "x\0y", "é²", "n" * 400])
def test_no_deployment_gets_a_file_elsewhere_or_stops_the_update(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    log_of = DeploymentLog(folder)
    log_of.start(name)
    emit(log_of, "x")
    assert [path.name for path in tmp_path.iterdir()] == ["in"]
    assert len(list(folder.iterdir())) == (0 if len(name) > 300 else 1)
    assert len(log_of.messages(name)) == (0 if len(name) > 300 else 1)
