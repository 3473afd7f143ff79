# SPDX-License-Identifier: Apache-2.0
"""What the updater keeps: whole or not at all, and so that its predecessor can go on after a rollback."""

import errno
import json
import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.module_client import mounted
from tests.unit.small_device import ROOT
from updater.errors import StoreBusy, StoreError, UpdaterError
from updater.store import UNKNOWN_ARTIFACT, Device, Store, Update

UPDATE = Update("reboot", "d1", artifact_name="new", provides={"artifact_name": "new"}, origin="a", target="b")


def test_a_new_device_has_nothing_stored(tmp_path: Path) -> None:
    store = Store(tmp_path)
    assert not store.exists()
    assert store.load() == Device()
    assert store.load().artifact_name == UNKNOWN_ARTIFACT


def test_what_is_saved_is_loaded(tmp_path: Path) -> None:
    store = Store(tmp_path)
    device = Device({"artifact_name": "old", "x": "y"}, UPDATE, untold={"d0": "failure"})
    assert store.save(device) == device
    assert Store(tmp_path).load() == device
    assert store.save(Device({"artifact_name": "new"})).update is None
    assert store.exists()
    assert [path.name for path in tmp_path.iterdir()] == [store.file.path.name]


def test_what_cannot_be_stored_is_an_error_and_the_old_content_stays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path)
    device = store.save(Device({"artifact_name": "old"}, UPDATE))

    def broken(*_: object) -> int:
        raise OSError(errno.EIO, "Input/output error")

    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", broken)
        with pytest.raises(StoreError, match="cannot be written: Input/output error"):
            store.save(Device({"artifact_name": "new"}))
    assert store.load() == device


@pytest.mark.parametrize(
    ("content", "says"),
    [
        (b"", "is damaged"),
        (b"{", "is damaged"),
        (b"\xff\xfe\x00", "is damaged"),
        (bytes(4096), "is damaged"),
        (b"[]", "is damaged"),
        (b'{"format": 3}', "another version"),
        (b'{"format": 2}', "is damaged"),
        (b'{"format": 2, "provides": {}, "update": {"deployment": "d"}}', "is damaged"),
        (b'{"format": 1, "provides": 5}', "is damaged"),
        (b'{"format": 1, "provides": {}, "update": "reboot"}', "is damaged"),
    ],
)
def test_a_damaged_store_is_refused_in_a_sentence(content: bytes, says: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    if content.startswith(b'{"format": 1'):
        store.first_format.write_bytes(content)
    else:
        store.file.write(content)
    with pytest.raises(UpdaterError, match=says) as refusal:
        store.load()
    assert str(store.file.path) in str(refusal.value)


def format_1(store: Store, state: str = "reboot", **more: str) -> None:
    """What the client before this one left behind when it rebooted into a system with this one."""
    update = {"state": state, "deployment": "d1", "artifact_name": "new", "provides": {"artifact_name": "new"},
              "origin": "a", "target": "b", "outcome": "", "stores": 3, **more}  # fmt: skip
    store.first_format.write_text(json.dumps({"format": 1, "provides": {"artifact_name": "old"}, "update": update}))


def test_the_record_of_an_older_client_is_taken_over_and_left_alone_until_the_update_is_kept(tmp_path: Path) -> None:
    store = Store(tmp_path)
    format_1(store)
    before = store.first_format.read_bytes()
    device = store.load()
    assert device.update is not None
    assert (device.update.payload_type, device.update.rollback, device.update.stores) == ("rootfs-image", "yes", 3)
    store.save(device)
    assert store.first_format.read_bytes() == before, "after a rollback the older client goes on from here"
    assert Store(tmp_path).load() == device, "and this one from its own record"
    store.save(device, kept=True)
    assert {path.name for path in tmp_path.iterdir()} == {store.file.path.name}
    assert Store(tmp_path).load() == device


def test_the_record_of_another_update_is_not_mistaken_for_this_one(tmp_path: Path) -> None:
    store = Store(tmp_path)
    format_1(store)
    store.save(store.load())
    format_1(store, deployment="d2")
    device = Store(tmp_path).load()
    assert device.update is not None
    assert device.update.deployment == "d2"


@pytest.mark.parametrize(("said", "means"), [("", ""), ("success", ""), ("failure", "rolled-back")])
def test_outcomes_of_the_older_client(said: str, means: str, tmp_path: Path) -> None:
    store = Store(tmp_path)
    format_1(store, "update-status-report", outcome=said)
    device = store.load()
    assert device.update is not None
    assert device.update.outcome == means


def test_a_finished_record_of_an_older_client_is_replaced_at_once(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.first_format.write_text('{"format": 1, "provides": {"artifact_name": "old"}, "update": null}')
    device = store.load()
    store.save(replace(device, update=UPDATE))
    assert not store.first_format.exists()
    assert json.loads(store.file.read() or b"")["format"] == 2


def test_a_record_of_a_format_that_nobody_knows_gives_way_to_the_one_beside_it(tmp_path: Path) -> None:
    store = Store(tmp_path)
    device = Device({"artifact_name": "old"}, UPDATE)
    store.save(device)
    store.file.path.rename(store.uncommitted.path)
    store.file.write(b'{"format": 9876}')
    assert store.load() == device
    store.save(device)
    assert store.file.read() == b'{"format": 9876}'
    store.save(device, kept=True)
    assert (Store(tmp_path).load(), store.uncommitted.path.exists()) == (device, False)


def test_one_installs_at_a_time(tmp_path: Path) -> None:
    with Store(tmp_path).writing(), pytest.raises(StoreBusy, match="at this moment"), Store(tmp_path).writing():
        pass
    with Store(tmp_path).writing():
        pass


def test_what_a_later_client_has_added_is_left_alone(tmp_path: Path) -> None:
    store = Store(tmp_path)
    update = {"state": "reboot", "deployment": "d", "later": {"more": 1}}
    store.file.write(json.dumps({"format": 2, "provides": {"artifact_name": "a"}, "update": update, "new": 1}).encode())
    assert store.load() == Device({"artifact_name": "a"}, Update("reboot", "d"))


def test_where_nothing_can_be_written_the_lock_is_there_and_the_saving_fails(tmp_path: Path) -> None:
    """The device must be able to say that an update failed."""
    lines = (
        "import sys, pathlib; from updater.store import *; from updater.errors import *\n"
        "store = Store(pathlib.Path(sys.argv[1]))\n"
        "with store.writing():\n"
        "    try: Store(store.file.path.parent).writing().__enter__()\n"
        "    except StoreBusy: print('busy')\n"
        "    try: store.save(Device())\n"
        "    except StoreError as error: print(error)\n"
    )
    around = mounted(f"mount --bind {tmp_path} {tmp_path} && mount -o remount,ro,bind {tmp_path}")
    argv = [*around, sys.executable, "-c", lines, str(tmp_path)]
    done = subprocess.run(
        argv, env={**os.environ, "PYTHONPATH": str(ROOT)}, capture_output=True, text=True, check=False
    )
    assert done.stdout == f"busy\n{tmp_path}/bootproof-store cannot be written: Read-only file system.\n", done.stderr
