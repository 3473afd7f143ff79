# SPDX-License-Identifier: Apache-2.0
"""An artifact as a stream of bytes that survives broken connections.

After a break the rest is asked for by range, so no byte is delivered twice.  The rules are those of Mender's client:
an answer that does not fit ends the download, because bytes of two artifacts must never be mixed.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Iterator

from updater.errors import BadAddress, ServerError
from updater.ports import Clock
from updater.server.http import Connector, Response

CONTENT_RANGE = re.compile(r"bytes ([0-9]{1,18})-([0-9]{1,18})/([0-9]{1,18}|\*)")
LENGTH = re.compile(r"[0-9]{1,18}")
EXPIRED = (403, 404, 410)  # what storages answer to a link that was good once
RELINKS = 3
log = logging.getLogger(__name__)


class Download:
    """Reads `uri` from byte `start` to its last; `read(n)` as of a file.

    A connection that cannot be made, breaks or goes silent is tried again after the next of `pauses` (seconds), until
    there are no more; they are for the whole download, so that a line that breaks for ever comes to an end.

    Args:
        start: the first byte that is wanted; not 0 only with `size`.
        size: of the whole artifact, if it is known; an artifact of another size is refused.
        relink: gives a fresh address of the same artifact when the present one is no longer taken.
        eager: take a fresh address also before the first byte: the present one is from an earlier life.
        stubborn: try again also if not a byte has come yet.

    Raises (from `read`):
        ServerError: the pauses are used up, the server's answers do not fit together, or (with `status` 403, 404 or
            410 and without `relink`) the address is no longer taken.
    """

    def __init__(
        self,
        connector: Connector,
        uri: str,
        clock: Clock,
        pauses: Iterator[float],
        *,
        start: int = 0,
        size: int | None = None,
        relink: Callable[[], str] | None = None,
        eager: bool = False,
        stubborn: bool = True,
    ) -> None:
        if start and (size is None or start > size):
            raise ValueError(f"A download cannot begin at byte {start} of {size}.")
        self._connector, self._uri, self._clock, self._pauses = connector, uri, clock, pauses
        self._place, self._size = start, size
        self._relink, self._relinks, self._eager = relink, 0, eager
        self._stubborn = stubborn
        self._response: Response | None = None

    @property
    def place(self) -> int:
        """The byte that is read next."""
        return self._place

    @property
    def size(self) -> int | None:
        """Of the whole artifact; None as long as the server has not said it."""
        return self._size

    def read(self, size: int) -> bytes:
        """Up to `size` bytes; empty at the end of the artifact."""
        while self._size is None or self._place < self._size:
            try:
                chunk = self._more(size)
            except ServerError as error:
                self._again(error)
                continue
            if chunk is not None:
                return chunk
        self.close()
        return b""

    def close(self) -> None:
        """Give the connection back."""
        if self._response is not None:
            self._response.close()
            self._response = None

    def _more(self, size: int) -> bytes | None:
        if self._response is None:
            self._response = self._connect()
        if self._size is None:
            chunk = self._response.read(size)
            if not chunk:
                self._size = self._place  # no length was announced, so this is the end
        else:
            chunk = self._response.read(min(size, self._size - self._place))
            if not chunk and self._place < self._size:
                raise ServerError(f"The download ended at byte {self._place} of {self._size}.")
        self._place += len(chunk)
        return chunk or None

    def _again(self, error: ServerError) -> None:
        """Get ready for another try, or raise the reason why there is none."""
        self.close()
        if isinstance(error, BadAddress) or not (self._place or self._stubborn):
            raise error
        if (
            self._relink is not None
            and (self._place or self._eager)
            and error.status in EXPIRED
            and self._relinks < RELINKS
        ):
            self._relinks += 1
            try:
                self._uri = self._relink()
                log.info("the artifact's address is no longer taken (%s) and was renewed", error.status)
                return
            except ServerError as failure:
                error = failure
        if self._place and self._size is None:
            raise ServerError(
                f"The download broke at byte {self._place} and cannot go on, because the server gave no length: {error}"
            ) from error
        pause = None if error.status is not None else next(self._pauses, None)
        if pause is None:
            raise error
        what = f"broke at byte {self._place}" if self._place else "could not be begun"
        log.warning("the download %s and is tried again in %.0f s: %s", what, pause, error)
        self._clock.sleep(pause)

    def _connect(self) -> Response:
        place, size = self._place, self._size
        headers = {} if size is None or not place else {"Range": f"bytes={place}-{size - 1}"}
        response = self._connector.fetch(self._uri, headers)
        try:
            if size is not None and place:
                check_range(response, place, size)
            else:
                self._size = whole_size(response, size)
        except ServerError:
            response.close()
            raise
        response.lift()
        return response


def whole_size(response: Response, known: int | None = None) -> int | None:
    """The size of a whole artifact in bytes, or `known` if the answer does not announce one.

    Raises:
        ServerError: the answer is not a whole artifact, announces nonsense, or another size than `known`.
    """
    length = response.headers.get("content-length")
    usable = length is None or LENGTH.fullmatch(length) is not None
    if response.status != 200 or not usable:
        with_what = "" if response.status != 200 else " with no usable length"
        raise ServerError(f"The artifact's address answered {response.status}{with_what}.", response.status)
    if length is None:
        if known is None:
            log.warning("the server does not say how large the artifact is, so a break cannot be mended")
        return known
    if known is not None and int(length) != known:
        raise ServerError(f"The artifact had {known} bytes, and now has {int(length)}.", response.status)
    return int(length)


def check_range(response: Response, place: int, size: int) -> None:
    """See that the answer to a range request is that very range of that very artifact.

    Raises:
        ServerError: it is not.
    """
    said = response.headers.get("content-range", "")
    length = response.headers.get("content-length")
    found = CONTENT_RANGE.fullmatch(said)
    fits = found and (int(found[1]), int(found[2])) == (place, size - 1) and found[3] in ("*", str(size))
    if response.status != 206 or not fits or length not in (None, str(size - place)):
        raise ServerError(
            f"The rest from byte {place} was asked for, and the server answered {response.status} with range '{said}'.",
            response.status,
        )
