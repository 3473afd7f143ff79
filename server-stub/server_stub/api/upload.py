# SPDX-License-Identifier: Apache-2.0
"""An upload on its way: its parts are taken apart, written and read for checking at the same time.

Nothing is held in memory but a few pieces, and what cannot be an artifact is refused at the first byte that says so.
"""

import queue
import threading
from collections.abc import Callable
from typing import Protocol

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header

from server_stub.domain.artifacts import Facts
from server_stub.errors import Malformed, StorageFull, TooLarge
from updater.artifact import ByteSource

FILE_PARTS = ("artifact", "file")
FIELD_LIMIT = 1 << 16
HEADER_LIMIT = 1 << 13
# Pieces between the one that receives and the one that checks.
PIECES = 16


class Sink(Protocol):
    def write(self, data: bytes) -> object: ...


class Checker:
    """Reads an artifact in its own thread while it arrives."""

    def __init__(self, inspect: Callable[[ByteSource], Facts]) -> None:
        self._pieces: queue.Queue[bytes] = queue.Queue(PIECES)
        self._rest = b""
        self._ended = False
        self._facts: Facts | None = None
        self._problem: BaseException | None = None
        self._thread = threading.Thread(target=self._check, args=(inspect,), name="checker")
        self._thread.start()

    def write(self, data: bytes) -> None:
        """Raises what the check has found."""
        while True:
            if self._problem is not None:
                raise self._problem
            try:
                return self._pieces.put(data, timeout=0.1) if data else None
            except queue.Full:
                continue

    def finish(self) -> Facts:
        """What is in the artifact, now that it has arrived. Raises what the check has found."""
        self.end()
        if self._problem is not None:
            raise self._problem
        assert self._facts is not None
        return self._facts

    def end(self) -> None:
        """No more pieces come."""
        while self._thread.is_alive():
            try:
                self._pieces.put(b"", timeout=0.1)
                break
            except queue.Full:
                continue
        self._thread.join()

    def read(self, size: int) -> bytes:
        """The checker's side: at most `size` bytes, nothing at the end."""
        if not self._rest and not self._ended:
            self._rest = self._pieces.get()
            self._ended = not self._rest
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def _check(self, inspect: Callable[[ByteSource], Facts]) -> None:
        try:
            self._facts = inspect(self)
        except BaseException as problem:
            self._problem = problem


class Parts:
    """The parts of one multipart request: small fields by name, and the file part handed on to the sinks."""

    def __init__(self, content_type: str, limit: int, *sinks: Sink) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Malformed("The body must be multipart/form-data.")
        self.fields: dict[str, bytearray] = {}
        self.size = 0
        self._limit = limit
        self._sinks = sinks
        self._has_file = False
        self._complete = False
        self._part = ""
        self._header = bytearray()
        self._value = bytearray()
        self._disposition = b""
        self._parser = MultipartParser(
            options[b"boundary"],
            {
                "on_part_begin": self._begin_part,
                "on_header_begin": self._begin_header,
                "on_header_field": lambda data, start, end: self._grow(self._header, data[start:end]),
                "on_header_value": lambda data, start, end: self._grow(self._value, data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._name_part,
                "on_part_data": self._take,
                "on_end": self._end,
            },
        )

    def feed(self, data: bytes) -> None:
        """The next piece of the body. Raises Malformed, TooLarge, StorageFull."""
        try:
            self._parser.write(data)
        except FormParserError as problem:
            raise Malformed(f"The body is not readable as multipart/form-data: {problem}.") from None
        except OSError as problem:
            raise StorageFull(f"The artifact could not be written: {problem.strerror or problem}.") from None

    def finish(self) -> None:
        if not self._complete:
            raise Malformed("The body ends in the middle of the upload.")
        if not self._has_file:
            raise Malformed(f'The upload has no part called "{FILE_PARTS[0]}".')

    def field(self, name: str) -> str:
        return self.fields.get(name, bytearray()).decode(errors="replace").replace("\0", "\N{REPLACEMENT CHARACTER}")

    def _grow(self, kept: bytearray, more: bytes) -> None:
        kept.extend(more)
        if len(kept) > HEADER_LIMIT:
            raise Malformed(f"A header of the upload is longer than {HEADER_LIMIT} bytes.")

    def _begin_part(self) -> None:
        self._disposition = b""

    def _begin_header(self) -> None:
        self._header.clear()
        self._value.clear()

    def _end_header(self) -> None:
        if self._header.lower() == b"content-disposition":
            self._disposition = bytes(self._value)

    def _name_part(self) -> None:
        _, options = parse_options_header(self._disposition)
        self._part = options.get(b"name", b"").decode(errors="replace")
        if not self._part:
            raise Malformed("A part of the upload has no name.")
        if self._part in FILE_PARTS:
            if self._has_file:
                raise Malformed("The upload has more than one artifact: send them one by one.")
            self._has_file = True

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part in FILE_PARTS:
            self.size += end - start
            if self.size > self._limit:
                raise TooLarge(f"The artifact is larger than {self._limit} bytes.")
            for sink in self._sinks:
                sink.write(data[start:end])
            return
        field = self.fields.setdefault(self._part, bytearray())
        field += data[start:end]
        if len(self.fields) > 100 or sum(map(len, self.fields.values())) > FIELD_LIMIT:
            raise Malformed(f"The upload's fields are larger than {FIELD_LIMIT} bytes.")

    def _end(self) -> None:
        self._complete = True
