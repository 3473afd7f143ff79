# SPDX-License-Identifier: Apache-2.0
"""What servers answer to a download, right and wrong, and downloads that know which silence to give up."""

from collections.abc import Iterator
from typing import Any

from tests.protocol.updater_servers import Pauses, tries
from updater.server.download import Download
from updater.server.http import Connector
from updater.server.line import Line

QUICK = 0.3  # seconds of silence after which a connection is given up that is known to stay silent
PATIENT = 60.0  # and any other: a slow machine is no silent server
WHOLE = b"abcdefghij"


def download(
    address: str, number: int = 10, pauses: Pauses | None = None, connector: Connector | None = None, **more: Any
) -> Download:
    connector = connector or Connector(timeout=PATIENT)
    return Download(connector, address, pauses or Pauses(), tries(number), **more)


class Foretold(Connector):
    """Gives each connection up quickly once it has brought the bytes after which it is silent, and not before.

    `silences` are those numbers of bytes, one for each connection in its turn; None for one that does not fall silent,
    as for all that follow.
    """

    def __init__(self, *silences: int | None) -> None:
        super().__init__(timeout=PATIENT)
        self._silences: Iterator[int | None] = iter(silences)

    def _line(self, *how: Any) -> Line:
        line, brings = super()._line(*how), next(self._silences, None)
        receive, brought = line.receive_into, 0

        def counted(buffer: bytearray) -> int:
            nonlocal brought
            if brings is not None and brought >= brings:
                line._stall = QUICK
            got = receive(buffer)
            brought += got
            return got

        line.receive_into = counted  # type: ignore[method-assign]
        return line


def answer(status: str, body: bytes = b"", **headers: str) -> bytes:
    lines = [f"HTTP/1.1 {status}", *(f"{name.replace('_', '-')}: {value}" for name, value in headers.items())]
    return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


def whole(body: bytes) -> bytes:
    return answer("200 OK", body, Content_Length=str(len(body)))


def rest(span: str, body: bytes = b"efghij", status: str = "206 Partial Content", **headers: str) -> bytes:
    """What follows BROKEN."""
    given = {"Content_Length": str(len(body)), **({"Content_Range": span} if span else {}), **headers}
    return answer(status, body, **given)


BROKEN = answer("200 OK", b"abcd", Content_Length="10")


def partial(place: int, count: int) -> bytes:
    """The rest from a place, of which only so many bytes arrive."""
    return answer(
        "206 P", WHOLE[place : place + count], Content_Length=str(10 - place), Content_Range=f"bytes {place}-9/10"
    )


GOOD = rest("bytes 4-9/10")
CHUNKED = answer("200 OK", b"4\r\nabcd\r\n6\r\nefghij\r\n0\r\n\r\n", Transfer_Encoding="chunked")
FATAL = {
    "EarlyRangeStart": rest("bytes 3-9/10", b"defghij"),
    "LateRangeStart": rest("bytes 5-9/10", b"fghij"),
    "InvalidEndRange": rest("bytes 4-8/10", b"efghi"),
    "EndBeyondTheEnd": rest("bytes 4-10/10", b"efghijk"),
    "BrokenContentLength": rest("bytes 4-9/10", Content_Length="six"),
    "OtherContentLength": rest("bytes 4-9/10", Content_Length="5"),
    "NoPartialContentSupport": whole(WHOLE),
    "RangeUnderAnotherStatus": rest("bytes 4-9/10", status="200 OK"),
    "EmptyContentRange": rest(" "),
    "MissingContentRange": rest(""),
    "FormattedButInvalid": rest("bytes abc-def/deadbeef"),
    "ImproperlyFormatted": rest("bytes 4-9-10"),
    "MissingTotal": rest("bytes 4-9"),
    "UnsatisfiedRange": rest("bytes */10"),
    "MissingBytes": rest("4-9/10"),
    "TooManyContentRanges": rest("bytes 4-9/10, 4-9/10"),
    "TwoContentRanges": rest("bytes 4-9/10\r\nContent-Range: bytes 4-9/10"),
    "InvalidContentRange": rest("bytes 9-4/10"),
    "ChangeContentLength": rest("bytes 4-9/11"),
    "NegativeRange": rest("bytes -4-9/10"),
    "GarbledContentStart": rest("bytes x4-9/10"),
    "GarbledBytes": rest("bytss 4-9/10"),
    "EndlessDigits": rest("bytes 4-" + "9" * 5000 + "/10"),
    "OtherDigits": rest("bytes ²-9/10"),
    "OtherStatus": answer("416 Range Not Satisfiable", Content_Length="0", Content_Range="bytes */10"),
    "ServerError": answer("500 Oh", Content_Length="0"),
    "Expired": answer("403 Forbidden", Content_Length="0"),
}
