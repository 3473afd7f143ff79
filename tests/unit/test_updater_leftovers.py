# SPDX-License-Identifier: Apache-2.0
"""What programs of an updater that was killed have left behind: it is ended, and nobody else's process is."""

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from tests.unit.processes import PATIENCE, ended
from tests.unit.small_device import ROOT, SmallDevice
from tests.unit.updater_simulation import MemoryStore, Simulation
from updater.ports import SystemClock
from updater.process import OWNER, SESSION, Child, end_leftovers
from updater.store import Device, Update

Begin = Callable[..., subprocess.Popen[bytes]]


@pytest.fixture
def begin() -> Iterator[Begin]:
    """Begins a program that runs on and on, with more in its environment."""
    begun: list[subprocess.Popen[bytes]] = []

    def one(*words: str, **more: str) -> subprocess.Popen[bytes]:
        process = subprocess.Popen(words or ("sleep", "1000"), env={**os.environ, **more})
        begun.append(process)
        return process

    yield one
    for process in begun:
        process.kill()
        process.wait()


def marked(owner: str) -> dict[str, str]:
    """The environment of a program of an update, in the session that these tests run in."""
    return {OWNER: owner, SESSION: str(os.getsid(0))}


def test_only_what_carries_the_mark_of_this_device_is_ended(begin: Begin, tmp_path: Path) -> None:
    owner = str(tmp_path)
    ours = [begin(**marked(owner)), begin(**{"A": "first", **marked(owner), "Z": "last"})]
    others = [
        begin(),
        begin(**marked(f"{owner}-of-another")),
        begin(**marked(str(tmp_path.parent))),
        begin(**marked("")),
        begin(**{**marked(owner), SESSION: "1"}),
        begin(**{"NOTE": f"{OWNER}={owner}", f"X{OWNER}": owner, SESSION: str(os.getsid(0))}),
        begin("sh", "-c", "kill -STOP $$", f"{OWNER}={owner}"),
    ]
    end_leftovers(owner)
    assert [process.wait(PATIENCE) for process in ours] == [-signal.SIGKILL] * 2
    assert [process.poll() for process in others] == [None] * len(others)


def test_an_updater_that_a_program_of_an_update_has_started_does_not_end_itself(begin: Begin, tmp_path: Path) -> None:
    """A module may start the updater anew; the mark is then in its own environment."""
    leftover = begin(**marked(str(tmp_path)))
    lines = "import sys; from updater.process import end_leftovers; end_leftovers(sys.argv[1]); print('still here')"
    env = {**os.environ, "PYTHONPATH": str(ROOT), **marked(str(tmp_path))}
    done = subprocess.run([sys.executable, "-c", lines, str(tmp_path)], env=env, capture_output=True, check=False)
    assert (done.returncode, done.stdout) == (0, b"still here\n"), done.stderr
    assert leftover.wait(PATIENCE) == -signal.SIGKILL


def test_what_a_program_starts_is_found_by_its_owner_and_by_nobody_else(tmp_path: Path) -> None:
    """It outlives the program that started it; a service, in a session of its own, is meant to."""
    numbers = []
    for owner, how in ((str(tmp_path), ""), ("", ""), (str(tmp_path), "setsid")):
        child = Child(["sh", "-c", f"{how} sleep 1000 >/dev/null 2>&1 & echo $!"], SystemClock(), 60, owner=owner)
        assert child.wait() == 0
        numbers.append(int(child.output))
    worker, of_nobody, service = numbers
    try:
        end_leftovers(str(tmp_path))
        assert ended(worker)
        os.kill(of_nobody, 0)
        os.kill(service, 0)
    finally:
        os.kill(of_nobody, signal.SIGKILL)
        os.kill(service, signal.SIGKILL)


@pytest.mark.parametrize("owner", ["", "/somebody"])
def test_a_program_dies_with_the_updater_that_runs_it(owner: str, tmp_path: Path) -> None:
    """Also one that works on no update: a script that has hung would be run beside itself."""
    place = tmp_path / "number"
    lines = (
        "import sys; from updater.process import Child; from updater.ports import SystemClock\n"
        "Child(['sh', '-c', f'echo $$ >{sys.argv[1]}.new; mv {sys.argv[1]}.new {sys.argv[1]}; exec sleep 1000'], "
        "SystemClock(), 600, owner=sys.argv[2]).wait()\n"
    )
    env = {**os.environ, "PYTHONPATH": str(ROOT)}
    with subprocess.Popen([sys.executable, "-c", lines, str(place), owner], env=env) as updater:
        while not place.exists():
            assert updater.poll() is None
        updater.kill()
    assert ended(int(place.read_text()))


# -- when ----------------------------------------------------------------------------------------------------------


def killed_updater(device: SmallDevice) -> int:
    """An installation that is killed while its module works; returns what the module leaves behind."""
    device.module(
        SupportsRollback="echo Yes",
        ArtifactInstall=f"sleep 1000 >/dev/null 2>&1 & echo $! >{device.folder}/left; kill -9 $PPID; sleep 1000",
    )
    assert device.run("install", str(device.artifact())).returncode == -signal.SIGKILL
    return int((device.folder / "left").read_text())


def test_a_command_that_goes_on_with_a_killed_update_ends_them_first(tmp_path: Path, begin: Begin) -> None:
    """The module that takes the update back waits for the end of the one that was at work on it."""
    device = SmallDevice(tmp_path).make()
    stranger = begin()
    left = killed_updater(device)
    at_work = f"[ -e /proc/{left} ] && ! grep -q '^State:.[XZ]' /proc/{left}/status"
    device.module(SupportsRollback="echo Yes", ArtifactRollback=f"while {at_work}; do sleep 0.01; done")
    assert b"Rolled back." in device.run("resume").stdout
    assert (ended(left), device.installed) == (True, "old")
    assert stranger.poll() is None


def test_what_an_update_has_started_runs_on_when_it_waits_for_a_person(tmp_path: Path) -> None:
    device = SmallDevice(tmp_path).make()
    device.module(
        SupportsRollback="echo Yes", ArtifactInstall=f"sleep 1000 >/dev/null 2>&1 & echo $! >{device.folder}/left"
    )
    assert device.run("install", str(device.artifact())).returncode == 0
    left = int((device.folder / "left").read_text())
    try:
        assert b"Committed." in device.run("commit").stdout
        os.kill(left, 0)
    finally:
        os.kill(left, signal.SIGKILL)


def test_a_command_that_is_refused_ends_nothing(tmp_path: Path) -> None:
    """The one that holds the device is at work, and its programs with it."""
    device = SmallDevice(tmp_path).make()
    fifo = tmp_path / "go"
    device.module(ArtifactInstall=f"mkfifo {fifo}; cat {fifo}")
    outcome: list[int] = []
    path = str(device.artifact())
    first = threading.Thread(target=lambda: outcome.append(device.run("install", path).returncode))
    first.start()
    while not fifo.exists():
        pass
    second = device.run("resume")
    assert (second.returncode, b"at this moment" in second.stderr) == (1, True)
    fifo.write_text("go")
    first.join()
    assert outcome == [0]


@pytest.mark.parametrize(
    ("update", "ends"), [(Update("update-after-commit", "d"), True), (Update("Cleanup"), False), (None, False)]
)
def test_the_daemon_ends_them_before_it_goes_on_with_its_own_update_and_only_then(
    update: Update | None, ends: bool, begin: Begin, tmp_path: Path
) -> None:
    """An update by hand is whoever's it is that began it: the command may still be at work."""
    simulation = Simulation()
    store = MemoryStore(simulation)
    store.save(Device({"artifact_name": "old"}, update))
    leftover = begin(**marked(str(tmp_path)))
    daemon = simulation.daemon(store)
    daemon.config = replace(daemon.config, data_directory=tmp_path)
    daemon.finish_interrupted()
    if ends:
        assert leftover.wait(PATIENCE) == -signal.SIGKILL
    else:
        assert leftover.poll() is None
