# SPDX-License-Identifier: Apache-2.0
"""State scripts: which are run, in which order, how often, and when that counts as a failure."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.updater_simulation import MemoryStore, Simulation
from updater import store
from updater.ports import Clock, SystemClock
from updater.scripts import Limits, ScriptFailed, StateScripts

SCALE = 0.001


class Pauses:
    """A clock on which only pauses take time: how long a script needs on this machine must not matter."""

    def __init__(self) -> None:
        self.slept: list[float] = []

    def now(self) -> float:
        return sum(self.slept)

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


class Device:
    """Two directories of scripts, each of which writes its name into a journal."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.journal, self.clock = folder, folder / "journal", Pauses()
        (folder / "rootfs").mkdir()
        (folder / "artifact").mkdir()

    def add(self, name: str, lines: str = "", mode: int = 0o755) -> None:
        artifact = name.startswith("Artifact")
        path = self.folder / ("artifact" if artifact else "rootfs") / name
        path.write_text(f"#!/bin/sh\necho {name} >>{self.journal}\n{lines}\n")
        path.chmod(mode)

    def scripts(self, strict: bool = False, clock: Clock | None = None, **limits: float) -> StateScripts:
        return StateScripts(
            self.folder / "rootfs", self.folder / "artifact", clock or self.clock, Limits(**limits), strict
        )

    @property
    def ran(self) -> list[str]:
        return self.journal.read_text().split() if self.journal.exists() else []

    def fails_first(self, times: int, code: int = 21) -> str:
        count = self.folder / "count"
        return f"echo x >>{count}; [ $(wc -l <{count}) -gt {times} ] || exit {code}"


@pytest.fixture
def device(tmp_path: Path) -> Device:
    return Device(tmp_path)


def test_in_the_order_of_their_names_and_only_those_of_the_transition(device: Device) -> None:
    for name in ("20_b", "05", "10_x", "10_a"):
        device.add(f"ArtifactInstall_Enter_{name}")
    for name in ("ArtifactInstall_Leave_01", "ArtifactInstall_Enter_1", "ArtifactInstall_Enter_001",
                 "ArtifactInstall_Enter_10a", "ArtifactInstall_Enter_10_a b", "ArtifactReboot_Enter_01"):  # fmt: skip
        device.add(name.replace(" ", "\\ ") if " " in name else name)
    device.scripts().run("ArtifactInstall", "Enter")
    assert device.ran == [f"ArtifactInstall_Enter_{name}" for name in ("05", "10_a", "10_x", "20_b")]


def test_each_origin_has_its_states(device: Device) -> None:
    for name in ("Idle_Enter_00", "Sync_Enter_00", "Download_Enter_00", "ArtifactCommit_Enter_00"):
        device.add(name)
    (device.folder / "artifact/Download_Enter_00").write_text("#!/bin/sh\nexit 1\n")
    for state in ("Idle", "Sync", "Download", "ArtifactCommit", "ArtifactFailure"):
        device.scripts().run(state, "Enter")
    assert device.ran == ["Idle_Enter_00", "Sync_Enter_00", "Download_Enter_00", "ArtifactCommit_Enter_00"]


def test_the_first_failure_ends_it(device: Device) -> None:
    device.add("ArtifactCommit_Enter_00", "exit 5")
    device.add("ArtifactCommit_Enter_01")
    with pytest.raises(ScriptFailed, match="ArtifactCommit_Enter_00 failed with status 5"):
        device.scripts().run("ArtifactCommit", "Enter")
    assert device.ran == ["ArtifactCommit_Enter_00"]


def test_error_scripts_are_all_run_and_never_fail(device: Device) -> None:
    device.add("ArtifactInstall_Error_00", "exit 1")
    device.add("ArtifactInstall_Error_01", "kill -9 $$")
    device.add("ArtifactInstall_Error_02")
    device.scripts().run("ArtifactInstall", "Error")
    assert [name[-2:] for name in device.ran] == ["00", "01", "02"]


def test_a_script_may_ask_for_another_try(device: Device) -> None:
    device.add("Download_Enter_00", device.fails_first(3))
    device.add("Download_Enter_01")
    device.scripts(retry_interval=60, retry_timeout=1800).run("Download", "Enter")
    assert device.ran == ["Download_Enter_00"] * 4 + ["Download_Enter_01"]
    assert device.clock.slept == [60.0] * 3


def test_not_for_ever(device: Device) -> None:
    device.add("Download_Enter_00", "exit 21")
    with pytest.raises(ScriptFailed, match="asked for another try for 600 s"):
        device.scripts(retry_interval=200, retry_timeout=600).run("Download", "Enter")
    assert len(device.ran) == 4, "also at the very end of the patience"
    assert device.clock.slept == [200.0] * 3


def test_the_patience_is_for_all_scripts_of_a_transition(device: Device) -> None:
    device.add("Download_Enter_00", device.fails_first(2))
    device.add("Download_Enter_01", "exit 21")
    with pytest.raises(ScriptFailed, match="Download_Enter_01 asked"):
        device.scripts(retry_interval=300, retry_timeout=1000).run("Download", "Enter")
    assert device.ran == ["Download_Enter_00"] * 3 + ["Download_Enter_01"] * 2
    assert device.clock.slept == [300.0] * 3, "of 1000 seconds, the first script has used up 600"


def test_a_script_that_hangs_is_ended(device: Device) -> None:
    device.add("Sync_Enter_00", "sleep 1000")
    with pytest.raises(ScriptFailed, match="did not end within 500 s"):
        device.scripts(clock=SystemClock(SCALE), timeout=500).run("Sync", "Enter")


@pytest.mark.parametrize(("content", "good"), [("2", True), ("3", True), ("3\n", True), ("4", False), ("", False)])
def test_the_version_must_be_known(content: str, good: bool, device: Device) -> None:
    device.add("Sync_Enter_00")
    (device.folder / "rootfs/version").write_text(content)
    scripts = device.scripts()
    for check in (lambda: scripts.run("Sync", "Enter"), scripts.check_rootfs):
        if good:
            check()
        else:
            with pytest.raises(ScriptFailed, match="version"):
                check()
    assert bool(device.ran) == good


@pytest.mark.parametrize("strict", [False, True])
def test_what_the_older_client_insists_on(strict: bool, device: Device) -> None:
    device.add("Sync_Enter_00")
    device.add("Download_Enter_00", mode=0o644)
    scripts = device.scripts(strict)
    if strict:
        with pytest.raises(ScriptFailed, match="no version file"):
            scripts.run("Sync", "Enter")
        (device.folder / "rootfs/version").write_text("3")
        with pytest.raises(ScriptFailed, match="cannot be run"):
            scripts.run("Download", "Enter")
    else:
        scripts.run("Sync", "Enter")
        scripts.run("Download", "Enter")
        assert device.ran == ["Sync_Enter_00"]


def test_those_of_an_artifact_replace_those_of_the_last_one(device: Device) -> None:
    device.add("ArtifactFailure_Enter_00")
    scripts = device.scripts()
    scripts.store({"ArtifactInstall_Enter_00": f"#!/bin/sh\necho new >>{device.journal}\n".encode()})
    assert scripts.names() == ["ArtifactInstall_Enter_00"]
    for state in ("ArtifactInstall", "ArtifactFailure"):
        scripts.run(state, "Enter")
    assert device.ran == ["new"]
    assert (device.folder / "artifact/version").read_text() == "3"
    scripts.remove()
    assert scripts.names() == []
    scripts.run("ArtifactInstall", "Enter")


def test_a_cut_before_it_was_stored_what_they_belong_to_leaves_none(tmp_path: Path) -> None:
    """The scripts are kept first, then what the payload is; a start between the two cannot go on with the download."""
    device, simulation = Device(tmp_path), Simulation()
    device.add("ArtifactInstall_Enter_00")
    memory = MemoryStore(simulation)
    memory.save(store.Device({"artifact_name": "old"}, store.Update("update-store", "d")))
    daemon = simulation.daemon(memory)
    daemon.world = replace(daemon.world, scripts=device.scripts())
    daemon.finish_interrupted()
    assert not (tmp_path / "artifact").exists()
    assert memory.load().update is None
