# SPDX-License-Identifier: Apache-2.0
"""A download that is put together from two artifacts, whole or from an offset, as an honest one would come."""

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from functools import partial

from server_stub.domain.ranges import Span, Unsatisfiable, read_range
from server_stub.lab.answers import Exchange
from server_stub.services import Services
from server_stub.storage import artifacts
from server_stub.storage.store import ArtifactStore

BLOCK = 512
MEDIA_TYPE = b"application/vnd.mender-artifact"
_PAYLOAD = b"data/"


@dataclass(frozen=True, slots=True)
class Piece:
    """A span of an artifact's file."""

    artifact: str
    first: int
    length: int


async def mixed(services: Services, head: str, payload: str) -> Sequence[Piece] | None:
    """All of the first artifact before its payload, and all of the second from there on; None if either is missing."""
    pieces: list[Piece] = []
    for artifact in (head, payload):
        size = await services.read(partial(artifacts.size_of, artifact=artifact))
        if size is None:
            return None
        begin = await payload_start(services.store, artifact, size)
        pieces.append(Piece(artifact, 0, begin) if not pieces else Piece(artifact, begin, size - begin))
    return pieces


async def payload_start(store: ArtifactStore, artifact: str, size: int) -> int:
    """Where the first payload begins in an artifact's file, a tar archive; its size if there is none."""
    place = 0
    while place + BLOCK <= size:
        block = b"".join([part async for part in store.read(artifact, place, BLOCK)])
        if block.startswith(_PAYLOAD):
            return place
        content = int(block[124:135].rstrip(b"\0 ") or b"0", 8)
        place += BLOCK + -(-content // BLOCK) * BLOCK
    return size


async def serve(exchange: Exchange, store: ArtifactStore, pieces: Sequence[Piece], asked: str | None) -> None:
    """Answer a download with these pieces, one behind the other; `asked` is the header Range."""
    size = sum(one.length for one in pieces)
    headers = [(b"content-type", MEDIA_TYPE), (b"accept-ranges", b"bytes")]
    try:
        span = read_range(asked, size)
    except Unsatisfiable:
        headers += [(b"content-range", b"bytes */%d" % size), (b"content-length", b"0")]
        await exchange.send({"type": "http.response.start", "status": 416, "headers": headers})
        await exchange.send({"type": "http.response.body"})
        return
    sent = span or Span(0, size - 1)
    headers.append((b"content-length", b"%d" % sent.length))
    if span is not None:
        headers.append((b"content-range", b"bytes %d-%d/%d" % (span.first, span.last, size)))
    exchange.firing.fire()
    await exchange.send({"type": "http.response.start", "status": 206 if span else 200, "headers": headers})
    if exchange.scope["method"] != "HEAD":
        async for body in _read(store, pieces, sent):
            if exchange.wire.is_gone:
                return
            await exchange.send({"type": "http.response.body", "body": body, "more_body": True})
    await exchange.send({"type": "http.response.body"})


async def _read(store: ArtifactStore, pieces: Sequence[Piece], sent: Span) -> AsyncIterator[bytes]:
    place = 0
    for piece in pieces:
        first, behind = max(sent.first, place), min(sent.last + 1, place + piece.length)
        if first < behind:
            async for body in store.read(piece.artifact, piece.first + first - place, behind - first):
                yield body
        place += piece.length
