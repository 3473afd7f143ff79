# SPDX-License-Identifier: Apache-2.0
"""An artifact as a stream of bytes that survives broken connections.

After a break the rest is asked for by range, so no byte is delivered twice.  The rules are those that both
generations of Mender's clients rely on.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterator

from updater.errors import ServerError
from updater.ports import Clock
from updater.server.http import Connector, Response

CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+|\*)")
log = logging.getLogger(__name__)


class Download:
    """Reads `uri` from its first byte to its last; `read(n)` as of a file.

    A connection that cannot be made or breaks is tried again after the next of `pauses` (seconds), until there are
    no more; they are for the whole download, so that a line that breaks for ever comes to an end.

    Raises (from `read`):
        ServerError: the pauses are used up, or the server's answers do not fit together.
    """

    def __init__(self, connector: Connector, uri: str, clock: Clock, pauses: Iterator[float]) -> None:
        self._connector, self._uri, self._clock, self._pauses = connector, uri, clock, pauses
        self._place = 0
        self._size: int | None = None
        self._response: Response | None = None

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end of the artifact."""
        while self._size is None or self._place < self._size:
            try:
                if self._response is None:
                    self._response = self._connect()
                chunk = self._response.read(size)
                if not chunk:
                    raise ServerError(f"The download ended at byte {self._place} of {self._size}.")
                self._place += len(chunk)
                return chunk
            except ServerError as error:
                self._again(error)
        self.close()
        return b""

    def close(self) -> None:
        """Give the connection back."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _again(self, error: ServerError) -> None:
        self.close()
        pause = None if error.status is not None else next(self._pauses, None)
        if pause is None:
            raise error
        log.warning("the download broke at byte %d and goes on from there: %s", self._place, error)
        self._clock.sleep(pause)

    def _connect(self) -> Response:
        headers = {"Range": f"bytes={self._place}-{self._size - 1}"} if self._size is not None else {}
        response = self._connector.open("GET", self._uri, headers)
        try:
            if self._size is None:
                self._size = whole_size(response)
            else:
                check_range(response, self._place, self._size)
        except ServerError:
            response.close()
            raise
        return response


def whole_size(response: Response) -> int:
    """The announced size of a whole artifact in bytes.

    Raises:
        ServerError: the answer is not a whole artifact, or does not say its size.
    """
    length = response.headers.get("content-length", "")
    if response.status != 200 or not length.isdecimal():
        raise ServerError(f"The artifact's address answered {response.status} with no usable length.", response.status)
    return int(length)


def check_range(response: Response, place: int, size: int) -> None:
    """See that the answer to a range request is that very range of that very artifact.

    Raises:
        ServerError: it is not.
    """
    said = response.headers.get("content-range", "")
    found = CONTENT_RANGE.fullmatch(said)
    fits = found and (int(found[1]), int(found[2])) == (place, size - 1) and found[3] in ("*", str(size))
    if response.status != 206 or not fits:
        raise ServerError(
            f"The rest from byte {place} was asked for, and the server answered {response.status} with range '{said}'.",
            response.status,
        )
