# SPDX-License-Identifier: Apache-2.0
"""The bell: tells everyone who looks at a page that something of a kind has changed; they then look again."""

import asyncio
from collections.abc import AsyncGenerator, Iterable
from contextlib import suppress

from server_stub.storage.revisions import Topic

# Seconds in which changes are gathered: a fleet in motion changes a thousand times a second.
PAUSE = 0.5
# Seconds of silence after which a sign of life is sent, so that a lost connection is noticed.
SILENCE = 15.0


class Bell:
    def __init__(self) -> None:
        self._changed: dict[asyncio.Event, set[Topic]] = {}
        self._closed = False

    def ring(self, topics: Iterable[Topic]) -> None:
        for event, changed in self._changed.items():
            changed.update(topics)
            event.set()

    def close(self) -> None:
        """Let all listeners go."""
        self._closed = True
        self.ring(())

    @property
    def listeners(self) -> int:
        return len(self._changed)

    async def listen(self) -> AsyncGenerator[set[Topic], None]:
        """What has changed since the last time, again and again; nothing at first, and after a while of silence.

        What changes after the first word is surely told.
        """
        event = asyncio.Event()
        event.set()
        self._changed[event] = set()
        try:
            while not self._closed:
                with suppress(TimeoutError):
                    await asyncio.wait_for(event.wait(), SILENCE)
                if self._closed:
                    return
                event.clear()
                changed, self._changed[event] = self._changed[event], set()
                yield changed
                await asyncio.sleep(PAUSE)
        finally:
            del self._changed[event]
