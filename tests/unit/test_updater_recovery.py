# SPDX-License-Identifier: Apache-2.0
"""A device whose record is damaged: it begins anew, says so, and keeps what it found for whoever wants to look."""

import contextlib
import errno
import json
import logging
import os
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from tests.unit.updater_simulation import MemoryStore, NoLog, Simulation, artifact
from updater.bootstrap import bootstrap, recover
from updater.config import Config
from updater.daemon import Daemon
from updater.deploymentlog import DeploymentLog
from updater.errors import StoreDamaged, StoreError
from updater.machine.actions import Actions
from updater.machine.reports import ServerReports
from updater.recordfile import HEAD, PLACE
from updater.store import UNKNOWN_ARTIFACT, Device, Store, Update

UPDATE = Update("reboot", "d1", artifact_name="new", provides={"artifact_name": "new"}, origin="a", target="b")
DEVICE = Device({"artifact_name": "old"}, UPDATE, untold={"d0": "failure"}, slot="a")
LOST = Device(incidents={"store_lost": 1})


def both_torn(raw: bytes) -> bytes:
    """A byte of each record is another one."""
    torn = bytearray(raw)
    for place in (0, PLACE):
        torn[place + HEAD.size] ^= 1
    return bytes(torn)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "emptied": lambda _: b"",
    "cut off": lambda raw: raw[: HEAD.size + 10],
    "zeros": lambda raw: bytes(len(raw)),
    "flash that was erased": lambda raw: b"\xff" * len(raw),
    "both records torn": both_torn,
    "another file": lambda _: b'{"provides": {"artifact_name": "old"}}',
}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    """One in which both places hold a record."""
    store = Store(tmp_path)
    store.save(replace(DEVICE, update=None))
    store.save(DEVICE)
    return store


def content(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.mark.parametrize("name", DAMAGE)
def test_what_is_damaged_is_set_aside_and_the_device_begins_anew(
    name: str, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    found = DAMAGE[name](store.file.path.read_bytes())
    store.file.path.write_bytes(found)
    with pytest.raises(StoreDamaged):
        store.load()
    recover(Store(store.file.path.parent))
    assert store.load() == LOST, "it knows of no update, and does not claim to know what is installed"
    assert store.load().artifact_name == UNKNOWN_ARTIFACT
    assert content(store.file.path.parent)["bootproof-store.damaged"] == found, "nothing of it is lost"
    (said,) = caplog.records
    assert said.levelno == logging.ERROR
    assert str(store.file.path) in said.getMessage()
    assert "set aside" in said.getMessage()


def test_once_is_enough(store: Store, caplog: pytest.LogCaptureFixture) -> None:
    """What the device has learnt since its recovery is not thrown away at the next start."""
    store.file.path.write_bytes(b"junk")
    recover(store)
    later = store.save(replace(store.load(), provides={"artifact_name": "next"}, slot="b"))
    before = content(store.file.path.parent)
    caplog.clear()
    recover(Store(store.file.path.parent))
    assert (Store(store.file.path.parent).load(), content(store.file.path.parent)) == (later, before)
    assert caplog.records == []


@pytest.mark.parametrize("place", [0, PLACE])
def test_one_damaged_record_is_no_loss_as_long_as_the_other_is_whole(
    place: int, store: Store, caplog: pytest.LogCaptureFixture
) -> None:
    raw = bytearray(store.file.path.read_bytes())
    raw[place + HEAD.size] ^= 1
    store.file.path.write_bytes(raw)
    before = content(store.file.path.parent)
    recover(store)
    assert store.load() in (DEVICE, replace(DEVICE, update=None))
    assert (content(store.file.path.parent), caplog.records) == (before, [])


@pytest.mark.parametrize("number", range(4))
def test_a_cut_in_the_recovery_loses_neither_the_file_nor_the_word_of_it(
    number: int, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whatever is flushed last before the power fails, the next start ends as if nothing had been in its way."""
    store.file.path.write_bytes(b"junk")
    flushes = iter(range(100))

    def flush(_: int) -> None:
        if next(flushes) == number:
            raise KeyboardInterrupt

    for name in ("fsync", "fdatasync"):
        monkeypatch.setattr(os, name, flush)
    with contextlib.suppress(KeyboardInterrupt):
        recover(store)
    recover(Store(store.file.path.parent))
    assert Store(store.file.path.parent).load() == LOST
    assert content(store.file.path.parent)["bootproof-store.damaged"] == b"junk"


def test_a_medium_that_takes_nothing_is_said_in_one_sentence(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError(errno.EROFS, "Read-only file system")

    store.file.path.write_bytes(b"junk")
    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(StoreError, match="cannot be kept aside: Read-only file system"):
        recover(store)
    assert store.file.path.read_bytes() == b"junk"


def test_the_damaged_record_of_an_update_on_trial_is_no_loss_of_the_one_before_it(tmp_path: Path) -> None:
    """The client that began the update goes on with its own after a rollback, and so does this one now."""
    store = Store(tmp_path)
    update = {"state": "reboot", "deployment": "d", "origin": "a", "target": "b", "stores": 5}
    older = json.dumps({"format": 1, "provides": {"artifact_name": "old"}, "update": update}).encode()
    store.first_format.write_bytes(older)
    store.uncommitted.path.write_bytes(b"junk")
    recover(store)
    device = Store(tmp_path).load()
    assert device.update is not None
    assert (device.update.deployment, device.update.state, device.artifact_name) == ("d", "reboot", "old")
    assert device.incidents == {"store_lost": 1}
    assert store.first_format.read_bytes() == older
    assert (tmp_path / "bootproof-store-uncommitted.damaged").read_bytes() == b"junk"


def test_a_new_device_has_nothing_to_recover(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    recover(Store(tmp_path))
    assert (content(tmp_path), caplog.records) == ({}, [])
    assert not Store(tmp_path).exists(), "so its first start still finds out what the factory has installed"


def test_the_record_of_another_version_is_left_alone(store: Store) -> None:
    """It may be what the client before this one goes on with after a rollback."""
    store.file.write(b'{"format": 9876}')
    before = content(store.file.path.parent)
    with pytest.raises(StoreError, match="another version"):
        recover(store)
    assert content(store.file.path.parent) == before


def test_what_the_factory_installed_is_not_taken_for_what_is_there_now(store: Store, tmp_path: Path) -> None:
    """Nobody knows how often the device has been updated since."""
    (tmp_path / "conf").mkdir()
    (tmp_path / "conf/artifact_info").write_text("artifact_name=from-the-factory\n")
    store.file.path.write_bytes(b"junk")
    recover(store)
    bootstrap(store, tmp_path, tmp_path / "conf")
    assert store.load() == LOST
    bootstrap(store, tmp_path, tmp_path / "conf", force=True)
    assert store.load() == replace(LOST, provides={"artifact_name": "from-the-factory"}), "unless somebody says so"


def test_the_server_hears_of_it(tmp_path: Path) -> None:
    """Whoever looks at the inventory sees which devices have lost their record."""
    world, store = Simulation().world(), Store(tmp_path)
    store.file.path.write_bytes(b"junk")
    recover(store)
    heard: list[Mapping[str, Any]] = []
    session: Any = SimpleNamespace(send_inventory=heard.append)
    reports, log_of = cast(ServerReports, world.reports), cast(DeploymentLog, NoLog())
    daemon = Daemon(Config(share_directory=tmp_path), world, store, session, reports, log_of, lambda _: set())
    daemon.update.due = 1e9
    daemon.turn()
    (inventory,) = heard
    assert (inventory["incident_store_lost"], inventory["artifact_name"]) == ("1", UNKNOWN_ARTIFACT)


def test_it_goes_on_with_the_next_deployment(monkeypatch: pytest.MonkeyPatch) -> None:
    """From the record that a recovery leaves, an update comes to its end, and the loss is still known."""
    monkeypatch.setattr(Actions, "_open", lambda *_: artifact())
    simulation = Simulation()
    MemoryStore(simulation).save(LOST)
    simulation.run()
    assert (simulation.final, simulation.running, simulation.stored.artifact_name) == ("success", "b", "new")
    assert simulation.stored.incidents == {"store_lost": 1}
