# SPDX-License-Identifier: Apache-2.0
"""The line between board and server: it carries, breaks, falls silent, holds what it is to hold, and heals."""

import socket
import threading
from collections.abc import Iterator
from contextlib import closing, suppress

import pytest

from harness.faults.network import Relay, State


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


def test_what_the_server_answers_is_counted(relay: Relay) -> None:
    with dial(relay) as line:
        for number in range(1, 4):
            line.sendall(b"ping")
            assert line.recv(100) == b"ping"
            assert relay.answers == number
    assert works(relay)
    assert relay.answers == 4


def breaks(line: socket.socket) -> bool:
    """Whether the line goes down while it is used, before it falls silent."""
    try:
        while True:
            line.sendall(b"ping")
            if not line.recv(100):
                return True
    except ConnectionError:
        return True
    except TimeoutError:
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


def test_it_breaks_at_once_and_counts_who_tries_meanwhile(relay: Relay) -> None:
    with dial(relay) as line:
        line.sendall(b"ping")
        assert line.recv(100) == b"ping"
        relay.go(State.DOWN)
        assert breaks(line)
    assert relay.broken
    assert relay.turned_away == 0
    assert not works(relay)
    assert not works(relay)
    assert relay.turned_away == 2
    relay.heal()
    assert works(relay)
    assert relay.turned_away == 2
    relay.go(State.DOWN)
    assert relay.turned_away == 0


def test_a_break_that_is_over_at_once_still_breaks_what_was_open(relay: Relay) -> None:
    with dial(relay) as line:
        line.sendall(b"ping")
        assert line.recv(100) == b"ping"
        relay.go(State.DOWN)
        relay.heal()
        assert breaks(line)


@pytest.mark.parametrize("how", ["at once", "after some bytes"])
def test_silence_leaves_connections_open_and_carries_nothing_on_them_again(relay: Relay, how: str) -> None:
    with dial(relay) as line:
        line.settimeout(0.3)
        if how == "at once":
            line.sendall(b"ping")
            assert line.recv(100) == b"ping"
            relay.go(State.SILENT)
        else:
            relay.break_after(4, State.SILENT)
            line.sendall(b"ping")
            line.recv(100)
            assert relay.broke.wait(10)
        line.sendall(b"pong")
        with pytest.raises(TimeoutError):
            line.recv(100)
        with dial(relay) as another:
            another.settimeout(0.3)
            another.sendall(b"ping")
            with pytest.raises(TimeoutError):
                another.recv(100)
        assert relay.turned_away == 1
        relay.heal()
        assert works(relay)
        with pytest.raises(TimeoutError):
            line.recv(100)


def test_what_is_sent_after_a_moment_is_held_until_it_is_released(relay: Relay) -> None:
    come = threading.Event()
    relay.hold_when(come.is_set)
    with dial(relay) as line:
        line.settimeout(0.3)
        line.sendall(b"before")
        assert line.recv(100) == b"before"
        come.set()
        line.sendall(b"after")
        with pytest.raises(TimeoutError):
            line.recv(100)
        relay.release()
        line.settimeout(10)
        assert line.recv(100) == b"after"


def test_what_is_held_when_the_line_breaks_never_arrives(relay: Relay) -> None:
    relay.hold_when(lambda: True)
    with dial(relay) as line:
        line.sendall(b"held")
        relay.go(State.DOWN)
        relay.release()
        with pytest.raises(ConnectionError):
            line.recv(100)


def test_what_is_held_when_it_hangs_up_never_arrives_and_the_line_is_as_before(relay: Relay) -> None:
    relay.hold_when(lambda: True)
    with dial(relay) as line:
        line.sendall(b"held")
        relay.hang_up()
        relay.release()
        with pytest.raises(ConnectionError):
            line.recv(100)
    assert not relay.broken
    assert works(relay)


def test_without_a_server_behind_it_it_refuses(relay: Relay) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as nobody:
        relay.target = nobody.getsockname()[1]
    assert not works(relay)


def test_a_closed_relay_takes_no_calls(echo: int) -> None:
    relay = Relay(echo)
    assert works(relay)
    relay.close()
    assert not works(relay)
