# SPDX-License-Identifier: Apache-2.0
"""A multipart upload, straight to one file: the artifact is never held in memory nor written twice."""

from collections.abc import AsyncIterator
from typing import BinaryIO

from python_multipart.exceptions import FormParserError
from python_multipart.multipart import MultipartParser, parse_options_header
from starlette.concurrency import run_in_threadpool

from server_stub.errors import Malformed, StorageFull

FILE_PART = "artifact"
FIELD_LIMIT = 1 << 16


class Upload:
    """The parts of one request: small fields by name, and the file part written to `out`."""

    def __init__(self, content_type: str, out: BinaryIO) -> None:
        kind, options = parse_options_header(content_type)
        if kind != b"multipart/form-data" or not options.get(b"boundary"):
            raise Malformed("The body must be multipart/form-data.")
        self.fields: dict[str, bytearray] = {}
        self._out = out
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
                "on_header_field": lambda data, start, end: self._header.extend(data[start:end]),
                "on_header_value": lambda data, start, end: self._value.extend(data[start:end]),
                "on_header_end": self._end_header,
                "on_headers_finished": self._name_part,
                "on_part_data": self._take,
                "on_end": self._end,
            },
        )

    async def receive(self, body: AsyncIterator[bytes]) -> None:
        try:
            async for chunk in body:
                await run_in_threadpool(self._parser.write, chunk)
        except FormParserError as problem:
            raise Malformed(f"The body is not readable as multipart/form-data: {problem}.") from None
        except OSError as problem:
            raise StorageFull(f"The artifact could not be written: {problem.strerror}.") from None
        if not self._complete:
            raise Malformed("The body ends in the middle of the upload.")
        if not self._has_file:
            raise Malformed(f'The upload has no part called "{FILE_PART}".')

    def field(self, name: str) -> str:
        return self.fields.get(name, bytearray()).decode(errors="replace")

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
        if self._part == FILE_PART:
            if self._has_file:
                raise Malformed("The upload has more than one artifact: send them one by one.")
            self._has_file = True

    def _take(self, data: bytes, start: int, end: int) -> None:
        if self._part == FILE_PART:
            self._out.write(data[start:end])
            return
        field = self.fields.setdefault(self._part, bytearray())
        field += data[start:end]
        if sum(map(len, self.fields.values())) > FIELD_LIMIT:
            raise Malformed(f"The upload's fields are larger than {FIELD_LIMIT} bytes.")

    def _end(self) -> None:
        self._complete = True
