# SPDX-License-Identifier: Apache-2.0
"""A cluster that is not there is noticed before anything is recorded; one that is there does what a pool does."""

import contextlib
import json
import shutil
import socket
import sys
from collections.abc import Iterator
from logging import CRITICAL
from pathlib import Path

import pytest
from distributed import LocalCluster

from harness.cli import main
from harness.errors import HostProblem
from harness.exitcodes import ExitCode
from harness.explore.cluster import Cluster, _let_go
from harness.explore.recording import ABOUT
from harness.explore.revive import Booted, Task
from tests.unit.pool_programs import ANSWERS, ENDS, put_in_place
from tests.unit.small_recording import make

# Takes its time with all but the first task, until there is a certain file.
SLOW = """
import json, os, sys, time
def heard(line):
    with open({!r}, "a") as out:
        print(os.getpid(), json.loads(line)["number"], file=out)
    while json.loads(line)["number"] and not os.path.exists({!r}):
        time.sleep(0.01)
    return line
"""


def explore(scheduler: str, runs: Path) -> int:
    return main(["explore", "--scheduler", scheduler, "--runs", str(runs)])


@pytest.mark.parametrize("address", ["", "nowhere", "tcp://:x", "smoke://hill:1"])
def test_what_is_no_address(address: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert explore(address, tmp_path) == ExitCode.USAGE
    assert f"'{address}' is no address of a scheduler: " in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_nobody_answers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr("harness.explore.cluster.CONNECT_SECONDS", 0.5)
    with socket.socket() as nobody:  # bound, and does not listen
        nobody.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{nobody.getsockname()[1]}"
        assert explore(address, tmp_path) == ExitCode.HOST
    assert f"No scheduler answers at {address}." in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_without_dask(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setitem(sys.modules, "distributed", None)
    assert explore("127.0.0.1:8786", tmp_path) == ExitCode.HOST
    assert "Install it: pip install 'bootproof[cluster]'" in capsys.readouterr().err


# -- a cluster that is there, with a program in the place of what boots ----------------------------------------------


@contextlib.contextmanager
def dask(workers: int = 1, threads: int = 1) -> Iterator[Cluster]:
    """A scheduler and its workers, all within this process."""
    options = {"host": "127.0.0.1", "protocol": "tcp", "processes": False, "dashboard_address": "127.0.0.1:0"}
    with (
        LocalCluster(n_workers=workers, threads_per_worker=threads, silence_logs=CRITICAL, **options) as there,
        contextlib.closing(Cluster(there.scheduler_address)) as cluster,
    ):
        yield cluster


@pytest.fixture
def started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the program writes what it was given: its own number and the task's, a line each."""
    list_of = tmp_path / "started"
    list_of.touch()
    put_in_place(
        monkeypatch,
        SLOW.format(str(list_of), str(tmp_path / "go"))
        + ANSWERS.replace("json.loads(line)", "json.loads(heard(line))"),
    )
    yield list_of
    _let_go()


def tasks(recording: Path, *numbers: int) -> list[Task]:
    recording.mkdir(exist_ok=True)
    (recording / ABOUT).touch()
    return [Task(number, str(recording), str(number), 0, "runs") for number in numbers]


def test_every_task_is_answered_once_by_one_child(tmp_path: Path, started: Path) -> None:
    (tmp_path / "go").touch()
    wanted = tasks(tmp_path / "recording", *range(6))
    with dask() as cluster:
        found = list(cluster.booted(wanted, tmp_path / "errors"))
    assert sorted(task.number for task, _ in found) == list(range(6))
    assert all(answer == Booted(task.point, 0, "held", "") for task, answer in found)
    assert len({line.split()[0] for line in started.read_text().splitlines()}) == 1


@pytest.mark.usefixtures("started")
def test_an_exploration_is_booted_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    put_in_place(monkeypatch, ANSWERS.replace("held", "violated"))
    folder = tmp_path / "explored"
    folder.mkdir()
    make(folder / "recording")
    with dask() as cluster:
        words = ["explore", "--resume", str(folder), "--scheduler", cluster.scheduler, "--boots", "3", "--json"]
        assert main(words) == ExitCode.VIOLATED
    report = json.loads(capsys.readouterr().out)
    assert report["states_booted"] == len(report["violations"]) == 3


def test_what_waits_is_taken_back(tmp_path: Path, started: Path) -> None:
    first, *rest = tasks(tmp_path / "recording", *range(10))
    with dask() as cluster:
        results = cluster.booted([first, *rest], tmp_path / "errors")
        assert next(results)[0] == first
        results.close()  # type: ignore[attr-defined]
        (tmp_path / "go").touch()
        (last,) = tasks(tmp_path / "recording", 99)
        assert [task for task, _ in cluster.booted([last], tmp_path / "errors")] == [last]
    # Whatever was with the worker already may have been begun.
    assert 9 not in {int(line.split()[1]) for line in started.read_text().splitlines()}


def test_a_recording_that_a_worker_does_not_find(tmp_path: Path) -> None:
    (missing,) = tasks(tmp_path / "recording", 1)
    shutil.rmtree(tmp_path / "recording")
    with dask() as cluster, pytest.raises(HostProblem, match=f"does not find the recording {missing.recording}."):
        list(cluster.booted([missing], tmp_path / "errors"))


def test_a_worker_with_several_threads(tmp_path: Path) -> None:
    with dask(threads=2) as cluster, pytest.raises(HostProblem, match=r"has 2 threads.*Start it anew: dask worker tcp"):
        list(cluster.booted(tasks(tmp_path / "recording", 1), tmp_path / "errors"))


@pytest.mark.usefixtures("started")
def test_a_child_that_ends_is_told_and_replaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    wanted = tasks(tmp_path / "recording", 0)
    with dask() as cluster:
        with monkeypatch.context() as ending:
            put_in_place(ending, ENDS)
            with pytest.raises(HostProblem, match="A worker has ended: There is no room"):
                list(cluster.booted(wanted, tmp_path / "errors"))
        assert len(list(cluster.booted(wanted, tmp_path / "errors"))) == 1


def test_nobody_to_work() -> None:
    with pytest.raises(HostProblem, match=r"has no workers. Start some: dask worker tcp"), dask(workers=0):
        pass


def test_what_is_no_fault_of_ours_is_one_sentence(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*_: object) -> None:
        raise ModuleNotFoundError("No module named 'harness'\nand more")

    monkeypatch.setattr("harness.explore.cluster._must_be_fit", broken)
    with dask() as cluster, pytest.raises(HostProblem, match=r"has failed: No module named 'harness'\. See that"):
        list(cluster.booted(tasks(tmp_path / "recording", 1), tmp_path / "errors"))
