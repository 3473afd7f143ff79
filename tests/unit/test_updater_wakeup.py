# SPDX-License-Identifier: Apache-2.0
"""Signals to the daemon: none is lost, whenever it comes, and none ends a daemon that can be found."""

import logging
import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.unit.small_device import ROOT
from updater import daemon, wakeup
from updater.config import Config
from updater.pidfile import hold_pid, running_daemon
from updater.ports import NoMarks, SystemClock
from updater.wakeup import CHECK_UPDATE, SEND_INVENTORY, Wakeup
from updater.wiring import Ports

BOTH = {CHECK_UPDATE, SEND_INVENTORY}


@pytest.fixture(autouse=True)
def unheard() -> Iterator[list[int]]:
    """Signals that came while no Wakeup took them; outside of a test they would end the process."""
    found: list[int] = []
    numbers = (CHECK_UPDATE, SEND_INVENTORY, signal.SIGTERM)
    before = [signal.signal(number, lambda number, _: found.append(number)) for number in numbers]
    yield found
    for number, handler in zip(numbers, before, strict=True):
        signal.signal(number, handler)


def selects(monkeypatch: pytest.MonkeyPatch, *came: signal.Signals) -> list[float]:
    """From now on these signals come while the daemon has just begun to wait, and no wait takes time."""
    waits: list[float] = []

    def begun(read: list[int], write: list[int], rest: list[int], seconds: float) -> tuple[Any, Any, Any]:
        waits.append(seconds)
        for number in came:
            signal.raise_signal(number)
        found = select.select(read, write, rest, 0)
        assert found[0] or not came, "a real wait would go on"
        return found

    monkeypatch.setattr(wakeup, "select", SimpleNamespace(select=begun))
    return waits


@pytest.mark.parametrize("asked", [{CHECK_UPDATE}, {SEND_INVENTORY}, BOTH])
def test_what_was_asked_for_before_anybody_waited_is_answered_at_once_and_once(
    asked: set[signal.Signals], monkeypatch: pytest.MonkeyPatch
) -> None:
    waiting, waits = Wakeup(SystemClock()), selects(monkeypatch)
    for number in asked:
        signal.raise_signal(number)
    assert (waiting.wait(1000.0), waits) == (asked, [0.0]), "it does not wait first"
    assert (waiting.wait(7.0), waits) == (set(), [0.0, 7.0]), "and nothing of it is left to end the next wait"


def test_what_is_asked_for_while_it_waits_ends_the_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    """Also in the last moment before it sleeps: it has looked, and found nothing."""
    waiting, waits = Wakeup(SystemClock(0.5)), selects(monkeypatch, CHECK_UPDATE, SEND_INVENTORY)
    assert waiting.wait(1000.0) == BOTH
    assert waits == [500.0]


def test_nothing_asked_for_is_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    waiting, waits = Wakeup(SystemClock()), selects(monkeypatch)
    assert [waiting.wait(seconds) for seconds in (7.0, 0.0, -7.0)] == [set()] * 3
    assert waits == [7.0, 0.0, 0.0], "what is overdue is not waited for"


def test_whoever_asks_without_end_is_answered_once() -> None:
    """More signals than the pipe holds."""
    waiting = Wakeup(SystemClock())
    for _ in range(70_000):
        signal.raise_signal(CHECK_UPDATE)
    assert waiting.wait(0.0) == {CHECK_UPDATE}


ENDS = """\
import signal
from updater.ports import SystemClock
from updater.wakeup import Wakeup

class Finalizer:
    def __del__(self):
        signal.raise_signal(signal.SIGTERM)
        print("still here")  # an exception would have been swallowed before this, and the rest have gone on

Wakeup(SystemClock())
Finalizer()
print("still here", flush=True)
signal.raise_signal(signal.SIGUSR1)
"""


def test_to_be_told_to_end_is_an_end_without_complaint_wherever_it_is() -> None:
    done = subprocess.run([sys.executable, "-c", ENDS], capture_output=True, cwd=ROOT, timeout=60, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, b"", b"")


def test_a_daemon_that_can_be_found_can_be_told(
    unheard: list[int], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As soon as its number is written down, and long before its first wait."""
    told: list[set[signal.Signals]] = []
    open_files: list[int] = []
    handlers = logging.getLogger().handlers[:]

    def found(directory: Path) -> int:
        open_files.append(hold_pid(directory))
        for number in BOTH:
            os.kill(running_daemon(directory), number)
        return open_files[-1]

    def made(*parts: Any) -> Any:
        return SimpleNamespace(run=lambda: told.append(parts[6](0.0)))

    monkeypatch.setattr(daemon, "hold_pid", found)
    monkeypatch.setattr(daemon, "Daemon", made)
    for name in ("make_session", "make_world", "make_keeper"):
        part = SimpleNamespace(credentials=SimpleNamespace(identity=""), look=None, check=None)
        monkeypatch.setattr(daemon, name, lambda *_, part=part: part)
    runner: Any = None
    config = Config(servers=("https://server",), data_directory=tmp_path, log_directory=tmp_path)
    try:
        daemon.run(config, Ports(SystemClock(), runner, NoMarks()))
    finally:
        logging.getLogger().handlers[:] = handlers
        for one in open_files:
            os.close(one)
    assert (told, unheard) == ([BOTH], [])
