# SPDX-License-Identifier: Apache-2.0
"""The network between board and server: a relay on the loopback that can break, fall silent, or hold its breath."""

from __future__ import annotations

import contextlib
import select
import selectors
import socket
import struct
import threading
from collections.abc import Callable
from enum import Enum

CHUNK = 65536
LOOK_SECONDS = 0.02  # between looks at the state of a line on which nothing moves
LINGER_RESET = struct.pack("ii", 1, 0)


class State(Enum):
    """How the line is."""

    UP = "up"
    DOWN = "down"  # connections are reset, and new ones as soon as they are made
    SILENT = "silent"  # connections stay open, and never again does a byte pass on those that were open meanwhile


class Relay:
    """Forwards connections to `target` (a loopback port), as long as the line is up; listens on `port` (0: any).

    `broke` is set when what `break_after` asked for has happened; `turned_away` counts connections that were tried
    since the line was last up, and `answers` how often the server has begun to answer the board.
    """

    def __init__(self, target: int, port: int = 0) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", port))
        self._listener.setblocking(False)
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._limit: int | None = None
        self._then = State.DOWN  # what the limit leads to
        self._state = State.UP
        self._breaks, self._last = 0, State.DOWN  # how often connections were broken, and for what
        self._reached: Callable[[], bool] | None = None
        self._go = threading.Event()
        self.turned_away = self.answers = 0
        self.broke = threading.Event()
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    # -- what can be done to it ------------------------------------------------------------------------------------

    def break_after(self, received: int, then: State = State.DOWN) -> None:
        """Break the line when one connection has brought the board `received` bytes; it stays so until healed."""
        with self._lock:
            self._limit, self._then = received, then
            self.broke.clear()

    def go(self, state: State) -> None:
        """Be down or silent from now on, until healed."""
        with self._lock:
            self._leave(state)

    def heal(self) -> None:
        """Let everything through again, on new connections."""
        with self._lock:
            self._limit, self._state = None, State.UP

    @property
    def broken(self) -> bool:
        """Whether the line is down or silent."""
        return self._state is not State.UP

    def hold_when(self, reached: Callable[[], bool]) -> None:
        """Hold what the board sends from the moment on that `reached` says yes, until `release`.

        It is asked, by any thread, before anything of the board's is passed on; so the server hears nothing that the
        board sent after that moment.
        """
        self._go = threading.Event()
        self._reached = reached

    def release(self) -> None:
        """Pass on what was held, if the line is up."""
        self._reached = None
        self._go.set()

    def hang_up(self) -> None:
        """Reset the connections that are open, and lose what they hold; the line stays as it is."""
        with self._lock, contextlib.suppress(BlockingIOError):
            self._breaks += 1
            while True:  # and those that nobody has answered yet
                _reset(self._listener.accept()[0])

    def close(self) -> None:
        """Stop taking connections."""
        self.release()
        # Closing alone would leave the thread in accept(), and the port open for one more.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    # -- one connection ----------------------------------------------------------------------------------------------

    def _accept(self) -> None:
        while True:
            try:
                select.select([self._listener], [], [])
                with self._lock:
                    board, _ = self._listener.accept()
                    state, breaks = self._state, self._breaks
                    self.turned_away += state is not State.UP
            except BlockingIOError:
                continue
            except (OSError, ValueError):  # closed, and so no file any more
                return
            threading.Thread(target=self._serve, args=(board, state, breaks), name="relay", daemon=True).start()

    def _serve(self, board: socket.socket, state: State, breaks: int) -> None:
        with board, contextlib.suppress(OSError):
            if state is not State.UP:
                _drop(board, state)
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                _reset(board)
                return
            with server:
                self._pump(board, server, breaks)

    def _pump(self, board: socket.socket, server: socket.socket, breaks: int) -> None:
        """Carry bytes both ways until both ends are done, or the line has broken once more than `breaks` times."""
        received, asked = 0, False
        other = {board: server, server: board}
        with selectors.DefaultSelector() as ready:
            for end in other:
                ready.register(end, selectors.EVENT_READ)
            while ready.get_map():
                for key, _ in ready.select(LOOK_SECONDS):
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(CHUNK)
                    if source is board:
                        self._wait_for_leave()
                    if self._breaks != breaks:
                        continue
                    if not data:
                        ready.unregister(source)
                        with contextlib.suppress(OSError):
                            other[source].shutdown(socket.SHUT_WR)
                        continue
                    received += len(data) if source is server else 0
                    with self._lock:
                        self.answers += asked and source is server
                    asked = source is board
                    other[source].sendall(data)
                if self._has_broken(received, breaks):
                    _drop(board, self._last)
                    return

    def _wait_for_leave(self) -> None:
        reached, go = self._reached, self._go
        if reached is not None and reached():
            go.wait()

    def _has_broken(self, received: int, breaks: int) -> bool:
        with self._lock:
            if self._breaks == breaks and self._limit is not None and received >= self._limit:
                self._leave(self._then)
                self.broke.set()
            return self._breaks != breaks

    def _leave(self, state: State) -> None:
        self._state = self._last = state
        self._limit, self.turned_away = None, 0
        self._breaks += 1


def _drop(board: socket.socket, state: State) -> None:
    """Reset a connection, as a broken line does; or leave it open and dead, until the board gives it up."""
    if state is State.DOWN:
        _reset(board)
        return
    while board.recv(CHUNK):
        pass


def _reset(connection: socket.socket) -> None:
    """Close with a reset, as a broken line does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    connection.close()
