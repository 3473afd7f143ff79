# SPDX-License-Identifier: Apache-2.0
"""A root file system that was installed by hand is given back: what is said of reboots, and how the command ends."""

from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.small_device import SmallDevice
from tests.unit.updater_simulation import Simulation
from updater import cli, wiring
from updater.standalone import BROKEN, REBOOT_TEXT
from updater.store import Device, Store, Update

INSTALLED = Update(
    "Before_ArtifactCommit_Enter",
    artifact_name="new",
    payload_type="rootfs-image",
    provides={"artifact_name": "new"},
    origin="a",
    target="b",
    reboot="automatic",
    rollback="yes",
)
STORED = Device({"artifact_name": "old"}, INSTALLED, slot="a")
ROLLED_BACK = "Rolled back."


class Board:
    """The device's record in a directory, and its slots and bootloader as values."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.simulation = Simulation()
        self.folder, self.store = folder, Store(folder)
        self.store.save(STORED)
        self.simulation.disk.slots["b"] = "good"
        world = self.simulation.world()
        monkeypatch.setattr(wiring, "make_world", lambda *_, **__: world)
        monkeypatch.setattr(cli, "_log_to", lambda _: None)

    def boots(self, running: str, active: str, trial: bool) -> None:
        self.simulation.running = running
        self.simulation.disk.active, self.simulation.disk.trial = active, trial

    def run(self, *words: str) -> int:
        empty = self.folder / "mender.conf"
        empty.write_text("{}")
        return cli.main(["--config", str(empty), "--data", str(self.folder), *words])

    @property
    def env(self) -> tuple[str, bool]:
        return self.simulation.disk.active, self.simulation.disk.trial

    @property
    def stored(self) -> Device:
        return Store(self.folder).load()


@pytest.fixture
def board(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Board:
    return Board(tmp_path, monkeypatch)


@pytest.mark.parametrize(
    ("running", "active", "trial", "says"),
    [
        ("b", "b", True, [ROLLED_BACK, REBOOT_TEXT]),
        ("a", "b", True, [ROLLED_BACK]),
        ("a", "a", False, [ROLLED_BACK]),
    ],
    ids=["it runs on trial", "it was never booted", "the bootloader has given it up"],
)
def test_a_reboot_is_asked_for_where_the_new_system_runs(
    running: str, active: str, trial: bool, says: list[str], board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    board.boots(running, active, trial)
    assert board.run("rollback") == 0
    assert capsys.readouterr().out.splitlines() == says
    assert board.env == ("a", False), "the old system is what boots next"
    assert board.simulation.running == running, "and the reboot is left to who gave the command"
    assert (board.stored.update, board.stored.artifact_name, board.stored.slot) == (None, "old", "a")
    assert board.run("rollback") == 2
    assert capsys.readouterr().out == "No update in progress.\n"


def test_after_a_stop_on_the_way_the_reboot_is_asked_for_at_the_end(
    board: Board, capsys: pytest.CaptureFixture[str]
) -> None:
    board.boots("b", "b", True)
    assert board.run("rollback", "--stop-before", "ArtifactRollback_Enter") == 0
    assert capsys.readouterr().out == "Stopped; the update is at ArtifactRollback_Enter. Use 'resume' to go on.\n"
    assert board.env == ("b", True), "nothing has been given back yet"
    assert board.run("rollback") == 0
    assert capsys.readouterr().out.splitlines() == [ROLLED_BACK, REBOOT_TEXT]
    assert board.env == ("a", False)


def test_the_daemons_update_is_not_for_this_command(board: Board, capsys: pytest.CaptureFixture[str]) -> None:
    board.store.save(replace(STORED, update=replace(INSTALLED, deployment="d")))
    board.boots("b", "b", True)
    assert board.run("rollback") == 1
    said = capsys.readouterr()
    assert (said.out, said.err) == (
        "",
        "mender-update: The update under way belongs to the server; the daemon finishes it.\n",
    )
    assert board.env == ("b", True)


@pytest.mark.parametrize(("answer", "says"), [("", [ROLLED_BACK]), ("Automatic", [ROLLED_BACK, REBOOT_TEXT])])
def test_a_module_that_needed_a_reboot_needs_one_to_go_back(answer: str, says: list[str], tmp_path: Path) -> None:
    """As a process, as a script would call it."""
    device = SmallDevice(tmp_path).make(SupportsRollback="echo Yes", NeedsArtifactReboot=f"echo {answer}")
    assert device.run("install", str(device.artifact())).returncode == 0
    done = device.run("rollback")
    assert (done.returncode, done.stdout.decode().splitlines()) == (0, says)
    assert "ArtifactRollbackReboot" not in device.did
    assert device.installed == "old"


@pytest.mark.parametrize("running", ["a", "b"])
def test_an_environment_that_cannot_be_written_is_no_rollback(
    running: str, board: Board, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    board.boots(running, "b", True)
    board.run("rollback")
    (tmp_path / "again").mkdir()
    again = Board(tmp_path / "again", monkeypatch)
    again.boots(running, "b", True)
    again.simulation.faults = {board.simulation.points.index("before restore"): "error"}
    capsys.readouterr()
    assert again.run("rollback") == 1
    assert capsys.readouterr().out.splitlines()[0] == BROKEN
    assert again.env == ("b", True)
