# SPDX-License-Identifier: Apache-2.0
"""The network between board and server: a relay on the loopback that can break."""

from __future__ import annotations

import contextlib
import selectors
import socket
import struct
import threading

CHUNK = 65536
LINGER_RESET = struct.pack("ii", 1, 0)


class Relay:
    """Forwards connections to `target` (a loopback port).  Made broken by `break_after`, mended by `heal`."""

    def __init__(self, target: int) -> None:
        self.target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self._lock = threading.Lock()
        self._limit: int | None = None
        self._down = False
        self.broke = threading.Event()  # did the fault fire?
        threading.Thread(target=self._accept, name="relay", daemon=True).start()

    def break_after(self, received: int) -> None:
        """Reset the connection that has brought the board `received` bytes, and refuse others until healed."""
        with self._lock:
            self._limit = received
            self.broke.clear()

    def heal(self) -> None:
        """Let everything through again."""
        with self._lock:
            self._limit, self._down = None, False

    def close(self) -> None:
        """Stop taking connections."""
        # Closing alone would leave the thread in accept(), and the port open for one more.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                board, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(board,), name="relay", daemon=True).start()

    def _serve(self, board: socket.socket) -> None:
        with board:
            if self._down:
                _reset(board)
                return
            try:
                server = socket.create_connection(("127.0.0.1", self.target))
            except OSError:
                _reset(board)
                return
            with server, contextlib.suppress(OSError):
                self._pump(board, server)

    def _pump(self, board: socket.socket, server: socket.socket) -> None:
        """Carry bytes both ways until both ends are done or the limit is reached."""
        received = 0
        other = {board: server, server: board}
        with selectors.DefaultSelector() as ready:
            for end in other:
                ready.register(end, selectors.EVENT_READ)
            while ready.get_map():
                for key, _ in ready.select():
                    source = key.fileobj
                    assert isinstance(source, socket.socket)
                    data = source.recv(CHUNK)
                    if not data:
                        ready.unregister(source)
                        with contextlib.suppress(OSError):
                            other[source].shutdown(socket.SHUT_WR)
                        continue
                    received += len(data) if source is server else 0
                    other[source].sendall(data)
                if self._exceeded(received):
                    _reset(board)
                    return

    def _exceeded(self, received: int) -> bool:
        with self._lock:
            if self._down:
                return True
            if self._limit is None or received < self._limit:
                return False
            self._down = True
            self.broke.set()
            return True


def _reset(connection: socket.socket) -> None:
    """Close with a reset, as a broken line does."""
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, LINGER_RESET)
    connection.close()
