# SPDX-License-Identifier: Apache-2.0
"""Faults: the moment of a power cut in a log, and the line that breaks."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, suppress
from pathlib import Path

import pytest

from harness.faults.network import Relay
from harness.faults.power import Moment, Watch, area, mark, writes
from harness.storage import WriteLog, encode
from images.layout import Layout, Window
from tests.unit import write_logs
from tests.unit.write_logs import DISCARD, FLUSH, SECTOR, flag, write, write_log

TINY = Layout(
    card=Window("card", 0, 8 * SECTOR),
    disk=Window("disk", 8 * SECTOR, 16 * SECTOR),
    marks=Window("marks", 24 * SECTOR, 8 * SECTOR),
    partitions=(Window("rootfs-a", SECTOR, 4 * SECTOR), Window("rootfs-b", 5 * SECTOR, 4 * SECTOR)),
    env_offsets=(0,),
    env_size=SECTOR,
)
A, B = 9, 13  # first sectors of the partitions in the image


def step(name: str, number: int = 0) -> bytes:
    return write_logs.step(24, name, number)


@pytest.fixture
def reached(tmp_path: Path) -> Iterator[Callable[..., list[int]]]:
    """The indices of the operations at which a moment is reached."""
    logs: list[WriteLog] = []

    def reached(moment: Moment, *entries: bytes) -> list[int]:
        path = tmp_path / "write.log"
        write_log(path, *entries)
        log = WriteLog(path)
        logs.append(log)
        watch = Watch(moment, log, TINY)
        return [operation.index for operation in log.finish() if watch(operation)]

    yield reached
    for log in logs:
        log.close()


def test_a_mark_is_found_by_its_name(reached: Callable[..., list[int]]) -> None:
    entries = [write(A), write(A, encode(0, "flip")), step("begin"), flag(FLUSH), step("flip", 1), write(A)]
    assert reached(mark("flip"), *entries) == [4], "and only on the strip"
    assert reached(mark("begin"), *entries) == [2]
    assert reached(mark("other"), *entries) == []
    assert reached(mark("fli"), *entries) == []


def test_marks_are_awaited_in_their_order(reached: Callable[..., list[int]]) -> None:
    entries = [step("ready"), step("reboot", 1), write(A), step("ready", 2), step("ready", 3)]
    assert reached(mark("ready"), *entries) == [0]
    assert reached(mark("reboot", "ready"), *entries) == [3]
    assert reached(mark("ready", "reboot"), *entries) == [1]
    assert reached(mark("ready", "reboot", "reboot"), *entries) == []


def test_writes_are_counted_from_the_beginning_or_from_a_mark(reached: Callable[..., list[int]]) -> None:
    entries = [
        write(A),
        write(B),
        write(0),
        step("begin"),
        write(B + 3),
        flag(FLUSH),
        flag(DISCARD, B, 1),
        write(B),
        write(A),
    ]
    assert reached(writes(1, to="rootfs-b"), *entries) == [1]
    assert reached(writes(2, to="rootfs-b"), *entries) == [4]
    assert reached(writes(3, to="rootfs-b"), *entries) == [7], "neither flushes nor discards are writes"
    assert reached(writes(1, to="rootfs-b", after="begin"), *entries) == [4]
    assert reached(writes(2, to="rootfs-b", after="begin"), *entries) == [7]
    assert reached(writes(3, to="rootfs-b", after="begin"), *entries) == []
    assert reached(writes(1, to="card"), *entries) == [2]
    assert reached(writes(5, to="disk"), *entries) == [8]
    assert reached(writes(1, to="marks", after="begin"), *entries) == [], "the mark itself does not count"


def test_passive_is_the_slot_that_does_not_run() -> None:
    assert writes(5, to="passive").within("rootfs-b") == writes(5, to="rootfs-b")
    assert writes(5, to="card").within("rootfs-b") == writes(5, to="card")
    assert mark("flip").within("rootfs-b") == mark("flip")


def test_moments_are_said_in_words() -> None:
    assert str(mark("flip")) == "at the step 'flip'"
    assert str(mark("reboot", "ready")) == "at the step 'ready' after the step 'reboot'"
    assert str(writes(3, to="card")) == "after write 3 to card"
    assert str(writes(3, to="passive", after="begin")) == "after write 3 to passive after the step 'begin'"


def test_areas_have_names() -> None:
    assert area(TINY, "card") == TINY.card
    assert area(TINY, "rootfs-b") == Window("rootfs-b", B * SECTOR, 4 * SECTOR)
    with pytest.raises(KeyError):
        area(TINY, "nowhere")


# -- the relay ---------------------------------------------------------------------------------------------------------


@pytest.fixture
def echo() -> Iterator[int]:
    """A server that sends back what it gets, then hangs up; gives its port."""

    def serve(connection: socket.socket) -> None:
        with connection, suppress(OSError):
            while data := connection.recv(65536):
                connection.sendall(data)

    def accept() -> None:
        while True:
            try:
                connection, _ = listener.accept()
            except OSError:
                return
            threading.Thread(target=serve, args=(connection,), daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        yield listener.getsockname()[1]
        listener.shutdown(socket.SHUT_RDWR)
        thread.join(10)


@pytest.fixture
def relay(echo: int) -> Iterator[Relay]:
    relay = Relay(echo)
    yield relay
    relay.close()


def dial(relay: Relay) -> socket.socket:
    return socket.create_connection(("127.0.0.1", relay.port), timeout=10)


def works(relay: Relay) -> bool:
    try:
        with dial(relay) as line:
            line.sendall(b"ping")
            return line.recv(100) == b"ping"
    except OSError:
        return False


def until_it_breaks(relay: Relay) -> int:
    received = 0
    with dial(relay) as line:
        while True:
            try:
                line.sendall(bytes(4096))
                received += len(line.recv(65536))
            except ConnectionError:
                return received


def test_it_carries_bytes_both_ways_to_the_end(relay: Relay) -> None:
    content = bytes(range(256)) * 4096
    received = bytearray()
    with dial(relay) as line:

        def send() -> None:
            line.sendall(content)
            line.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        while data := line.recv(65536):
            received += data
        sender.join(10)
    assert received == content
    assert not relay.broke.is_set()


def test_it_breaks_after_so_many_bytes_refuses_and_heals(relay: Relay) -> None:
    relay.break_after(100_000)
    assert works(relay), "little goes through"
    assert 0 < until_it_breaks(relay) <= 100_000 + 65536
    assert relay.broke.is_set()
    assert not works(relay)
    assert not works(relay)
    relay.heal()
    assert works(relay)
    relay.break_after(1)
    assert not relay.broke.is_set()
    works(relay)
    assert relay.broke.is_set()
    assert not works(relay)


def test_without_a_server_behind_it_it_refuses(relay: Relay) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        relay.target = nobody.getsockname()[1]
    assert not works(relay)


def test_a_closed_relay_takes_no_calls(echo: int) -> None:
    relay = Relay(echo)
    assert works(relay)
    relay.close()
    assert not works(relay)
