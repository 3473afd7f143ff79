# SPDX-License-Identifier: Apache-2.0
"""The connection below an answer: what no well-behaved application may do to it, a laboratory can.

With uvicorn an application can only send whole answers; here it reaches the transport that they are written to.
"""

import asyncio
import fcntl
import socket
import struct
import termios
from contextlib import suppress

from server_stub.front.protocol import BoundedProtocol

SCOPE_KEY = "server_stub.wire"
LOOK_EVERY = 0.02
_LINGER_RESET = struct.pack("ii", 1, 0)


class Wire:
    """One connection; all its methods may be called on one that is closed already."""

    def __init__(self, transport: asyncio.Transport) -> None:
        self._transport = transport
        self.lost = asyncio.Event()
        """the server has noticed that the connection is closed"""

    @property
    def is_gone(self) -> bool:
        """Whether either side has closed it."""
        return self._transport.is_closing()

    async def wait_gone(self, seconds: float | None = None) -> None:
        """Wait until it is closed, or for so many seconds."""
        loop = asyncio.get_running_loop()
        end = None if seconds is None else loop.time() + seconds
        while not self.is_gone and (end is None or loop.time() < end):
            await asyncio.sleep(LOOK_EVERY)

    def write(self, data: bytes) -> None:
        """Send bytes that belong to no answer."""
        if not self.is_gone:
            self._transport.write(data)

    async def close(self) -> None:
        """Close in good order, once all has been sent."""
        self._transport.close()
        await self.lost.wait()

    async def reset(self) -> None:
        """Close with a reset, once all that was sent has arrived at the other side's kernel."""
        arrived = 0
        # TLS hands on what it has encrypted a little later: one look could fall in between.
        while not self.is_gone and arrived < 2:
            await asyncio.sleep(LOOK_EVERY)
            arrived = arrived + 1 if self._unconfirmed() == 0 else 0
        if not self.is_gone:
            with suppress(OSError), self._duplicate() as own:
                own.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_RESET)
            self._transport.abort()
        await self.lost.wait()

    def _unconfirmed(self) -> int:
        """Bytes that were written and that the other side has not acknowledged."""
        with suppress(OSError), self._duplicate() as own:
            queued = fcntl.ioctl(own.fileno(), termios.TIOCOUTQ, bytes(4))
            return self._transport.get_write_buffer_size() + int(struct.unpack("i", queued)[0])
        return 0

    def _duplicate(self) -> socket.socket:
        """The same connection as a socket of our own: the loop's cannot be set."""
        kept = self._transport.get_extra_info("socket")
        if kept is None:
            raise OSError("the connection has no socket any more")
        return socket.fromfd(kept.fileno(), kept.family, kept.type)


def wired(protocol: type[BoundedProtocol]) -> type[BoundedProtocol]:
    """The protocol, with the connection within reach of the application."""

    class Wired(protocol):  # type: ignore[misc, valid-type]
        def connection_made(self, transport: asyncio.Transport) -> None:
            super().connection_made(transport)
            self.wire = Wire(transport)

        def connection_lost(self, exc: Exception | None) -> None:
            # First the server: an application that ended before would be said to have left its answer unfinished.
            super().connection_lost(exc)
            self.wire.lost.set()

        def on_message_begin(self) -> None:
            super().on_message_begin()
            self.scope[SCOPE_KEY] = self.wire

    return Wired
