# SPDX-License-Identifier: Apache-2.0
"""The board's command line, its serial console and its monitor, without a board."""

import json
import re
import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from harness.board.argv import command_line
from harness.board.console import Console
from harness.board.qmp import Monitor
from harness.board.spec import BoardSpec, Wiring
from harness.clock import Deadline
from harness.errors import GuestFault, HostProblem

GOLDEN = Path(__file__).parents[1] / "golden" / "argv-virt-a64.txt"
SPEC = BoardSpec(uboot=Path("u-boot.bin"))
WIRING = Wiring(Path("run/disk-1.qcow2"), Path("run/write-1.log"), Path("sockets/qmp-1"), Path("sockets/tty-1"))

# -- the command line --------------------------------------------------------------------------------------------------


def test_the_whole_command_line() -> None:
    assert "\n".join(command_line(SPEC, WIRING)) + "\n" == GOLDEN.read_text()


def test_it_is_a_function_of_its_arguments_alone(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    before = command_line(SPEC, WIRING)
    monkeypatch.chdir(tmp_path)
    for name in ("HOME", "PATH", "TMPDIR"):
        monkeypatch.setenv(name, str(tmp_path))
    assert command_line(SPEC, WIRING) == before
    assert list(tmp_path.iterdir()) == []


def test_what_the_board_is_decides_the_words() -> None:
    words = command_line(replace(SPEC, memory=128, cpu="cortex-a72", mac="52:54:00:00:00:01", watchdog=False), WIRING)
    assert words[words.index("-m") + 1] == "128"
    assert words[words.index("-cpu") + 1] == "cortex-a72"
    assert "i6300esb" not in words
    assert any("mac=52:54:00:00:00:01" in word for word in words)


def test_a_stick_comes_after_everything_else() -> None:
    with_stick = command_line(replace(SPEC, stick=Path("sockets/stick")), WIRING)
    without = command_line(SPEC, WIRING)
    added = [word for word in with_stick if word not in without]
    assert added == [
        "driver=nbd,node-name=stick,read-only=on,server.type=unix,server.path=sockets/stick",
        "virtio-blk-pci,drive=stick,serial=stick",
    ]
    devices = [word for before, word in pairwise(with_stick) if before == "-device"]
    assert devices[-1] == added[1], "so the other disks keep their names"


def test_commas_in_paths_are_doubled() -> None:
    odd = Wiring(Path("a,b/disk"), Path("a,,b/log"), Path("c,d/qmp"), Path("c,d/tty"))
    words = " ".join(command_line(SPEC, odd))
    for part in ("filename=a,,b/disk,", "filename=a,,,,b/log,", "path=c,,d/tty,", "path=c,,d/qmp,"):
        assert part in words


def test_every_write_of_the_board_goes_through_one_log() -> None:
    words = command_line(SPEC, WIRING)
    nodes = [word for before, word in pairwise(words) if before == "-blockdev"]
    assert [node for node in nodes if ",file=image," in node] == [
        node for node in nodes if "driver=blklogwrites" in node
    ]
    windows = [node for node in nodes if node.startswith("driver=raw")]
    assert len(windows) == len(SPEC.layout.windows)
    assert all(",file=log," in window for window in windows)


# -- the console -------------------------------------------------------------------------------------------------------


@pytest.fixture
def listener(tmp_path: Path) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "tty"))
        listener.listen(1)
        yield listener


@pytest.fixture
def wire(listener: socket.socket, tmp_path: Path) -> Iterator[tuple[Console, socket.socket]]:
    console = Console(tmp_path / "tty", tmp_path / "console.log", Deadline(10))
    board, _ = listener.accept()
    with board:
        yield console, board
    console.close()


def test_what_comes_is_found_once_and_kept(wire: tuple[Console, socket.socket]) -> None:
    console, board = wire
    board.sendall(b"U-Boot 2023.01\r\nslot a\r\n")
    assert console.expect(r"U-Boot (\S+)", Deadline(10))[1] == b"2023.01"
    board.sendall(b"sl")
    board.sendall(b"ot b\r\n")
    assert console.expect(r"slot (\w)", Deadline(10))[1] == b"a"
    assert console.expect(r"slot (\w)", Deadline(10))[1] == b"b"
    assert console.text == b"U-Boot 2023.01\r\nslot a\r\nslot b\r\n"
    console.send(b"reboot\n")
    assert board.recv(100) == b"reboot\n"


def test_what_does_not_come_in_time_is_the_boards_fault(wire: tuple[Console, socket.socket]) -> None:
    console, board = wire
    board.sendall(b"Kernel panic\xff")
    console.expect("panic", Deadline(10))
    with pytest.raises(GuestFault) as late:
        console.expect("login:", Deadline(0.2))
    assert late.value.message == "The console did not show 'login:' within 0 s; it ends: Kernel panic\ufffd"


def test_a_board_that_is_off_says_no_more(wire: tuple[Console, socket.socket]) -> None:
    console, board = wire
    board.sendall(b"last words")
    board.close()
    console.expect("last words", Deadline(10))
    with pytest.raises(GuestFault, match="it ends: last words"):
        console.expect("anything", Deadline(600))
    with pytest.raises(EOFError):
        console.take(len(b"last words"), 600)
    console.close()
    console.close()
    assert console.text == b"last words"


def test_the_transcript_has_a_time_stamp_before_each_line(wire: tuple[Console, socket.socket], tmp_path: Path) -> None:
    console, board = wire
    for part in (b"one\r\ntw", b"o\r\n", b"\r\nthree"):
        board.sendall(part)
    console.expect("three", Deadline(10))
    console.close()
    lines = (tmp_path / "console.log").read_bytes().split(b"\n")
    stamped = [re.fullmatch(rb"\[ *\d+\.\d{3}\] (.*)", line) for line in lines]
    assert [found and found[1] for found in stamped] == [b"one", b"two", b"", b"three"]


def test_a_line_that_does_not_open_is_said_to_be_so(tmp_path: Path) -> None:
    with pytest.raises(GuestFault, match="QEMU's serial line did not open"):
        Console(tmp_path / "none", tmp_path / "console.log", Deadline(0))


# -- the monitor -------------------------------------------------------------------------------------------------------

GREETING = {"QMP": {"version": {"qemu": {"major": 7, "minor": 2, "micro": 0}, "package": ""}, "capabilities": []}}
USERNET = "VLAN -1 (net):\r\n  TCP[HOST_FORWARD]  14       127.0.0.1 45678       10.0.2.15    22     0     0\r\n"


class Qemu:
    """Answers the monitor's commands from a table."""

    def __init__(self, path: Path, answers: dict[str, Any]) -> None:
        self.answers, self.asked = answers, []  # type: tuple[dict[str, Any], list[Any]]
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen(1)
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def _serve(self) -> None:
        connection, _ = self._listener.accept()
        with connection:
            connection.sendall(json.dumps(GREETING).encode() + b"\r\n")
            # Commands come without line ends, each in one piece and after the answer to the one before.
            while data := connection.recv(65536):
                command = json.loads(data)
                name = command["execute"]
                self.asked.append((name, command.get("arguments")))
                answer = self.answers.get(name, {"return": {}})
                if answer == "nothing":
                    continue
                if answer is None:
                    return
                same = {"id": command["id"]} if "id" in command else {}
                connection.sendall(json.dumps({**answer, **same}).encode() + b"\r\n")

    def end(self) -> None:
        self._thread.join(10)
        self._listener.close()
        assert not self._thread.is_alive()


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Callable[..., tuple[Monitor, Qemu]]]:
    made: list[tuple[Monitor, Qemu]] = []

    def start(answers: dict[str, Any]) -> tuple[Monitor, Qemu]:
        qemu = Qemu(tmp_path / "qmp", answers)
        made.append((Monitor(tmp_path / "qmp", Deadline(10)), qemu))
        return made[0]

    yield start
    for monitor, qemu in made:
        monitor.close()
        qemu.end()


def test_commands_and_their_answers(start: Callable[..., tuple[Monitor, Qemu]]) -> None:
    monitor, qemu = start({"human-monitor-command": {"return": USERNET}, "query-status": {"return": {"running": True}}})
    assert monitor.command("query-status") == {"running": True}
    assert monitor.ssh_port() == 45678
    monitor.command("set_link", name="nic", up=False)
    assert [(name, given or {}) for name, given in qemu.asked] == [
        ("qmp_capabilities", {}),
        ("query-status", {}),
        ("human-monitor-command", {"command-line": "info usernet"}),
        ("set_link", {"name": "nic", "up": False}),
    ]


def test_a_refusal_is_a_problem_of_this_machine(start: Callable[..., tuple[Monitor, Qemu]]) -> None:
    refusal = {"error": {"class": "GenericError", "desc": "no such link"}}
    monitor, _ = start({"set_link": refusal, "human-monitor-command": {"return": "nothing is forwarded"}})
    with pytest.raises(HostProblem, match=r"QEMU did not take 'set_link': .*no such link"):
        monitor.command("set_link", name="nic", up=True)
    with pytest.raises(HostProblem, match="QEMU forwards no port"):
        monitor.ssh_port()


def test_a_machine_that_is_gone_is_said_to_be_so(start: Callable[..., tuple[Monitor, Qemu]]) -> None:
    monitor, _ = start({"system_reset": None})
    with pytest.raises(HostProblem, match="QEMU did not take 'system_reset'"):
        monitor.command("system_reset")
    monitor.close()
    monitor.close()


def test_a_machine_that_hangs_is_not_waited_for(
    start: Callable[..., tuple[Monitor, Qemu]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("harness.board.qmp.ANSWER_SECONDS", 0.2)
    monitor, _ = start({"system_reset": "nothing"})
    with pytest.raises(HostProblem, match="QEMU did not take 'system_reset'"):
        monitor.command("system_reset")


def test_a_monitor_that_does_not_answer(tmp_path: Path) -> None:
    with pytest.raises(HostProblem, match="monitor did not answer"):
        Monitor(tmp_path / "none", Deadline(0))
