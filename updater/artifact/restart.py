# SPDX-License-Identifier: Apache-2.0
"""Places from which a payload can be read on without what came before them, found while it is read.

A decompressor's state cannot be stored, so there must be places in the compressed stream that need none of it, or in
gzip no more than the plain text just before them. Which places those are is guessed from marks that may also occur
by chance, and a guess counts only once it has been tried out. Whatever is wrong all the same, the checksum of the
whole file finds.
"""

import re
import zlib
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from typing import Any

from updater.artifact.errors import ArtifactError

RESTART_EVERY = 7 * 512 * 1024
"""Plain bytes behind one place before the next is looked for: a little less than the 4 MiB that a writer may put
between two, since it is looked for in whole pieces of input."""
WINDOW = 32 * 1024
"""Plain bytes that deflate may refer back to."""
PROOF = 64 * 1024
"""Bytes, compressed or plain, that must come out the same before a flush point is believed in."""
PATIENCE = 32 * 1024 * 1024
"""Compressed bytes that are searched in vain before a stream is taken for one whose writer does not flush."""
MAX_PLACE = 1 << 42
"""Beyond the end of any artifact."""

_SHA256 = re.compile(r"[0-9a-f]{64}")
_MARKER = b"\0\0\xff\xff"
_SEAM = len(_MARKER) - 1
_KEPT = 64
_PIECES = 64


@dataclass(frozen=True)
class RestartPoint:
    """Where the reading of an artifact with one payload file can go on.

    `manifest` is the SHA-256 (hex) of the manifest's bytes and binds the point to one artifact; `place` is the byte of
    the artifact at which reading goes on, and `done` how many bytes of the payload file come before it.

    Raises ArtifactError for values that no artifact can have.
    """

    manifest: str
    place: int
    done: int

    def __post_init__(self) -> None:
        if not isinstance(self.manifest, str) or not _SHA256.fullmatch(self.manifest):
            raise ArtifactError("a restart point names no manifest")
        for value in (self.place, self.done):
            if type(value) is not int or not 0 <= value <= MAX_PLACE:
                raise ArtifactError("a restart point lies outside of any artifact")

    @classmethod
    def of(cls, saved: Mapping[str, Any]) -> "RestartPoint":
        """The point that was stored as a mapping; other keys in it are left alone. Raises ArtifactError."""
        names = [one.name for one in fields(cls)]
        if not all(name in saved for name in names):
            raise ArtifactError("a restart point is incomplete")
        return cls(**{name: saved[name] for name in names})


@dataclass(frozen=True)
class Spot:
    """A place in a compressed stream: the bytes before it, compressed and plain."""

    packed: int = 0
    plain: int = 0


BEGIN = Spot()


class Spots:
    """The last of the spots of one stream, in order and at least `every` plain bytes apart; None: none are wanted."""

    def __init__(self, every: int | None = None, start: Spot = BEGIN) -> None:
        self.start = start
        self._every = every
        self._found = deque([start], _KEPT)

    def wanted(self, plain: int) -> bool:
        """Whether the next may be after so many plain bytes."""
        return self._every is not None and plain - self._found[-1].plain >= self._every

    def add(self, spot: Spot) -> None:
        self._found.append(spot)

    def latest(self, limit: int) -> Spot | None:
        """The last with at most `limit` plain bytes before it."""
        return next((spot for spot in reversed(self._found) if spot.plain <= limit), None)


@dataclass
class _Trial:
    """A spot that is not believed in yet: the plain text before it, and what follows on either side."""

    spot: Spot
    window: bytes
    packed: bytearray = field(default_factory=bytearray)
    plain: bytearray = field(default_factory=bytearray)

    def stands(self) -> bool:
        """Whether an inflater that begins here gives what the one that came along gave."""
        probe = zlib.decompressobj(-zlib.MAX_WBITS, zdict=self.window)
        try:
            return probe.decompress(self.packed, len(self.plain) or 1) == self.plain
        except zlib.error:
            return False


class FlushPoints:
    """Finds, in a deflate stream that somebody else decompresses, the places behind a flush.

    A flush leaves an empty stored block, whose end is four known bytes at a whole byte. So the input is divided
    behind them, and once all that came before is decompressed, the two sides of the place are known.
    """

    def __init__(self, spots: Spots, window: bytes) -> None:
        """`window` is the plain text before the start, as far as it is needed there."""
        self._spots = spots
        self._packed, self._plain = spots.start.packed, spots.start.plain
        self._until = self._packed + PATIENCE
        self._seam = b""
        self._recent = deque([window])
        self._kept = len(window)
        self._flushed = False
        self._trial: _Trial | None = None

    @property
    def plain(self) -> int:
        """Plain bytes up to here."""
        return self._plain

    def taken(self, data: bytes) -> int:
        """How many of these bytes, which follow in the stream, the decompressor must be given at once and alone."""
        end = None
        if self._trial is None and self._spots.wanted(self._plain) and self._packed < self._until:
            end = _end_of_marker(self._seam, data)
        self._flushed = end is not None
        piece = data[:end]
        if self._trial is not None:
            self._trial.packed += piece
        self._packed += len(piece)
        self._seam = (self._seam + piece[-_SEAM:])[-_SEAM:]
        return len(piece)

    def given(self, out: bytes, *, dry: bool) -> None:
        """Plain text came out; `dry` says that no more will until more is taken."""
        self._plain += len(out)
        if self._trial is not None:
            self._judge(self._trial, out, dry)
        self._keep(out)
        if dry and self._flushed:
            self._flushed = False
            window = b"".join(self._recent)[-WINDOW:]
            self._trial = _Trial(Spot(self._packed, self._plain), window)

    def _judge(self, trial: _Trial, out: bytes, dry: bool) -> None:
        trial.plain += out[:PROOF]
        # Much input that stands for little output is enough, too, but not before it has given all of it.
        if len(trial.plain) >= PROOF or (dry and len(trial.packed) >= PROOF):
            if trial.stands():
                self._spots.add(trial.spot)
                self._until = self._packed + PATIENCE
            self._trial = None

    def _keep(self, out: bytes) -> None:
        """Keep the last plain text where a spot may be near; a reference is enough, nothing is copied."""
        if not self._spots.wanted(self._plain + WINDOW):
            self._recent.clear()
            self._kept = 0
            return
        self._recent.append(out)
        self._kept += len(out)
        while self._kept - len(self._recent[0]) >= WINDOW:
            self._kept -= len(self._recent.popleft())
        if len(self._recent) > _PIECES:
            self._recent = deque([b"".join(self._recent)])


def _end_of_marker(seam: bytes, data: bytes) -> int | None:
    """Where in `data` the last marker ends that does so there; it may begin in `seam`, the bytes before."""
    at = data.rfind(_MARKER)  # any would do; from behind, random bytes are searched twice as fast
    if at >= 0:
        return at + len(_MARKER)
    at = (seam + data[:_SEAM]).rfind(_MARKER)
    return None if at < 0 else at + len(_MARKER) - len(seam)
