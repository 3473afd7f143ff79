# SPDX-License-Identifier: Apache-2.0
"""The folder of a recording, what the server may have heard, and crash IDs from elsewhere."""

import json
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.explore.crashid import CrashId
from harness.explore.record import HeardWatch
from harness.explore.recording import ABOUT, LOG, UBOOT, Recording
from harness.storage import WriteLog
from tests.unit.small_board import LAYOUT
from tests.unit.small_recording import make
from tests.unit.write_logs import FLUSH, flag, step, write, write_log

STRIP = LAYOUT.marks.start // 512


def test_what_was_saved_is_read(tmp_path: Path) -> None:
    made = make(tmp_path / "recording")
    again = Recording(tmp_path / "recording")
    assert again.about == made.about
    assert again.identity == made.identity
    assert [mark.name for _, mark in again.marks][:2] == ["slot.write", "report.installing"]


def test_another_recording_has_another_identity(tmp_path: Path) -> None:
    one, two = make(tmp_path / "one"), make(tmp_path / "two", trial=False)
    assert one.identity != two.identity
    assert one.inputs == two.inputs, "it is made of the same things"
    (two.folder / UBOOT).write_bytes(b"another bootloader")
    assert Recording(two.folder).inputs != one.inputs


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (None, "holds no recording"),
        ("{", "is damaged"),
        ("[]", "is not a recording of version 3"),
        ('{"format": "other"}', "is not a recording of version 3"),
        ('{"format": "bootproof-recording", "version": 3, "images": 5}', "is damaged"),
    ],
)
def test_what_is_no_recording_is_refused(tmp_path: Path, content: str | None, says: str) -> None:
    if content is not None:
        (tmp_path / ABOUT).write_text(content)
    with pytest.raises(UsageError, match=says):
        Recording(tmp_path)


def test_a_newer_format_is_refused(tmp_path: Path) -> None:
    made = make(tmp_path / "recording")
    document = json.loads((made.folder / ABOUT).read_text())
    (made.folder / ABOUT).write_text(json.dumps({**document, "version": 4}))
    with pytest.raises(UsageError, match="version 3"):
        Recording(made.folder)


def test_what_the_server_may_have_heard(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    told = {position: [one.record.status for one in recording.heard_at(position)] for position in (0, 36, 37, 38, 45)}
    assert told == {
        0: ["downloading"],
        36: ["downloading"],
        37: ["downloading", "installing"],
        38: ["installing"],
        45: ["installing"],
    }


def test_the_watch_stops_at_every_operation_while_a_report_is_on_its_way(tmp_path: Path) -> None:
    entries = [write(0), step(STRIP, "report.success"), step(STRIP, "report.success", 1), flag(FLUSH)]
    write_log(tmp_path / LOG, *entries, step(STRIP, "idle", 2), write(1))
    with WriteLog(tmp_path / LOG) as log:
        log.finish()
        watch = HeardWatch(log, LAYOUT, None)
        stops = [(watch(one), watch.asked, watch.at_mark) for one in log.operations]
    assert stops == [
        (False, None, False),
        (False, 2, False),
        (True, 2, False),
        (True, 2, False),
        (True, 2, True),
        (True, 2, False),
    ]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "managed",
        "managed-7-9e2451",
        "managed-7-9e245@a+1",
        "managed-7-9e2451@+1",
        "managed-7-9e2451@a+1,lost=",
        "A-7-9e2451@a+1",
    ],
)
def test_text_that_is_no_crash_id(text: str) -> None:
    with pytest.raises(UsageError, match="is no crash ID such as"):
        CrashId.parse(text)


def test_the_text_of_a_crash_id() -> None:
    text = "managed-7-9e24510c4@report.installing#2+37,lost=1-3+9,torn=4:512,heard"
    found = CrashId.parse(text)
    assert str(found) == text
    assert (found.mark, found.number, found.heard) == ("report.installing", 2, True)
    assert found.point.lost == {1, 2, 3, 9}


@pytest.mark.parametrize(
    ("where", "says"),
    [
        ("install.flop+1", "names the step 'install.flop' 0 times, not 1"),
        ("install.flip#2+1", "names the step 'install.flip' 1 times, not 2"),
        ("install.flip+1000", "ends before"),
    ],
)
def test_a_crash_id_of_another_recording(tmp_path: Path, where: str, says: str) -> None:
    recording = make(tmp_path / "recording")
    with pytest.raises(UsageError, match=says):
        CrashId.parse(f"managed-1-000000@{where}").within(recording)


def test_the_beginning_has_an_id_too(tmp_path: Path) -> None:
    recording = make(tmp_path / "recording")
    point, heard = CrashId.parse("managed-1-000000@begin+0").within(recording)
    assert (point.position, heard.record.status) == (0, "downloading")
