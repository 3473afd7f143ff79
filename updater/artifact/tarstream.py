# SPDX-License-Identifier: Apache-2.0
"""A strict forward-only tar reader: POSIX ustar with PAX records for long paths and large sizes.

It reads what Mender's writer produces and refuses everything else: links, directories, devices, GNU and global
records, bad checksums, a missing end marker, and anything but zeros after the end. It needs only `read(n)` and holds
no more than one header.
"""

import re
from dataclasses import dataclass

from updater.artifact.compression import CHUNK, ByteSource
from updater.artifact.errors import ArtifactError
from updater.artifact.names import shown

BLOCK = 512
MAX_ENTRY_SIZE = 1 << 40
"""Bytes one entry may announce."""
MAX_PAX_SIZE = 8 * 1024
"""Bytes of PAX records before one entry."""
MAX_TRAILING = 1024 * 1024
"""Zero bytes accepted after the end marker; tar programs pad to a record, usually 10 KiB."""

_ZERO_BLOCK = bytes(BLOCK)
_NUMBER = re.compile(rb" *([0-7]+)[ \0]*")
_PAX_LENGTH = re.compile(rb"[1-9][0-9]{0,4} ")
_PAX_IGNORED = frozenset({"mtime", "atime", "ctime", "uid", "gid", "uname", "gname"})


@dataclass(frozen=True)
class _Header:
    name: str
    size: int
    kind: bytes
    modified: int


class TarEntry:
    """One regular file of a tar: name, size in bytes, time (seconds since 1970), and content to be read once.

    `start` is the byte of the tar at which the content begins.
    """

    def __init__(self, source: ByteSource, name: str, start: int, size: int, modified: int, what: str) -> None:
        self.name = name
        self.start = start
        self.size = size
        self.modified = modified
        self.remaining = size
        self._source = source
        self._what = what

    def read(self, n: int, /) -> bytes:
        """At most n bytes, b"" at the end of the entry; raises ArtifactError when the tar ends before it."""
        wanted = min(n, self.remaining)
        if wanted <= 0:
            return b""
        data = self._source.read(wanted)
        if not data:
            raise ArtifactError(f"{self._what} is truncated")
        self.remaining -= len(data)
        return data

    def read_all(self, limit: int) -> bytes:
        """The whole content; raises ArtifactError, before reading, when it is larger than `limit` bytes."""
        if self.size > limit:
            raise ArtifactError(f"the entry {shown(self.name)} of {self._what} is larger than {limit} bytes")
        parts = []
        while self.remaining:
            parts.append(self.read(CHUNK))
        return b"".join(parts)


class TarReader:
    """The entries of a tar in order. `what` names the tar in errors; `limit` bounds its length in bytes."""

    def __init__(self, source: ByteSource, what: str, limit: int | None = None) -> None:
        self._source = source
        self._what = what
        self._limit = limit
        self._read = 0
        self._entry: TarEntry | None = None
        self._ended = False

    def read(self, n: int, /) -> bytes:
        """The source's bytes, counted against the limit."""
        data = self._source.read(n)
        self._read += len(data)
        if self._limit is not None and self._read > self._limit:
            raise ArtifactError(f"{self._what} is larger than {self._limit} bytes")
        return data

    def next_entry(self) -> TarEntry | None:
        """Skip the rest of the current entry and return the next; None once the tar has properly ended.

        Raises ArtifactError for anything that is not a regular file in ustar form with at most PAX path and size.
        """
        if self._ended:
            return None
        self._skip_entry()
        header = self._next_header()
        pax: dict[str, str] = {}
        if header is not None and header.kind == b"x":
            pax = self._pax_records(header.size)
            header = self._next_header()
            if header is None:
                raise ArtifactError(f"{self._what} ends with PAX records that belong to no entry")
        if header is None:
            self._finish()
            return None
        if header.kind != b"0":
            raise ArtifactError(f"{self._what} holds {shown(header.name)}, which is not a regular file")
        name = pax.get("path", header.name)
        size = self._size(pax.get("size"), header)
        self._entry = TarEntry(self, name, self._read, size, header.modified, self._what)
        return self._entry

    def within(self, found: TarEntry, done: int) -> TarEntry:
        """Begin inside an entry that another reader found: the source delivers its content from byte `done` on."""
        self._read = found.start + done
        self._entry = TarEntry(self, found.name, found.start, found.size, found.modified, self._what)
        self._entry.remaining -= done
        return self._entry

    def _size(self, pax_size: str | None, header: _Header) -> int:
        if pax_size is not None and not (pax_size.isascii() and pax_size.isdigit() and len(pax_size) <= 20):
            raise ArtifactError(f"{self._what} holds a malformed PAX size")
        size = header.size if pax_size is None else int(pax_size)
        if size > MAX_ENTRY_SIZE:
            raise ArtifactError(f"the entry {shown(header.name)} of {self._what} is larger than {MAX_ENTRY_SIZE} bytes")
        return size

    def _skip_entry(self) -> None:
        if self._entry is None:
            return
        while self._entry.remaining:
            self._entry.read(CHUNK)
        self._exactly(-self._entry.size % BLOCK)
        self._entry = None

    def _next_header(self) -> _Header | None:
        block = self._exactly(BLOCK)
        return None if block == _ZERO_BLOCK else parse_header_block(block, self._what)

    def _pax_records(self, size: int) -> dict[str, str]:
        if size > MAX_PAX_SIZE:
            raise ArtifactError(f"{self._what} holds more than {MAX_PAX_SIZE} bytes of PAX records for one entry")
        raw = self._exactly(size)
        self._exactly(-size % BLOCK)
        return parse_pax_records(raw, self._what)

    def _exactly(self, size: int) -> bytes:
        parts = []
        while size > 0:
            data = self.read(size)
            if not data:
                raise ArtifactError(f"{self._what} is truncated")
            parts.append(data)
            size -= len(data)
        return b"".join(parts)

    def _finish(self) -> None:
        """Read to the end of the source: a second zero block, then nothing but zeros."""
        if self._exactly(BLOCK) != _ZERO_BLOCK:
            raise ArtifactError(f"{self._what} has bytes after its end marker")
        trailing = 0
        while data := self.read(CHUNK):
            trailing += len(data)
            if data.count(0) != len(data):
                raise ArtifactError(f"{self._what} has bytes after its end marker")
            if trailing > MAX_TRAILING:
                raise ArtifactError(f"{self._what} has more than {MAX_TRAILING} zero bytes after its end marker")
        self._ended = True


def parse_header_block(block: bytes, what: str) -> _Header:
    """The fields of one 512-byte ustar header; owner and mode mean nothing in an artifact and are skipped."""
    if block[257:265] != b"ustar\x0000":
        raise ArtifactError(f"{what} holds a header that is not in ustar form")
    # The sum is taken with its own field blank.
    if _number(block[148:156], what) != sum(block) - sum(block[148:156]) + 8 * ord(" "):
        raise ArtifactError(f"{what} holds a header whose checksum does not match")
    name, prefix = _text(block[0:100], what), _text(block[345:500], what)
    # The time is told to people and nothing hangs on it, so one that is out of form is none.
    time = _NUMBER.fullmatch(block[136:148])
    return _Header(
        name=f"{prefix}/{name}" if prefix else name,
        size=_number(block[124:136], what),
        kind=block[156:157],
        modified=int(time[1], 8) if time else 0,
    )


def parse_pax_records(raw: bytes, what: str) -> dict[str, str]:
    """The PAX records `<length> <key>=<value>\\n` that carry meaning here: path and size; unknown keys are refused."""
    records: dict[str, str] = {}
    at = 0
    while at < len(raw):
        head = _PAX_LENGTH.match(raw, at)
        end = at + int(head[0]) if head else 0
        if head is None or end > len(raw) or head.end() >= end or raw[end - 1 : end] != b"\n":
            raise ArtifactError(f"{what} holds a malformed PAX record")
        key, equals, value = raw[head.end() : end - 1].partition(b"=")
        name = key.decode("ascii", "replace")
        if not equals or name in records or (name not in _PAX_IGNORED and name not in {"path", "size"}):
            raise ArtifactError(f"{what} holds the PAX record {shown(name)}, which has no place in an artifact")
        records[name] = _utf8(value, what)
        at = end
    return records


def _number(field: bytes, what: str) -> int:
    match = _NUMBER.fullmatch(field)
    if match is None:
        raise ArtifactError(f"{what} holds a header with a malformed number")
    return int(match[1], 8)


def _text(field: bytes, what: str) -> str:
    return _utf8(field.rstrip(b"\0"), what)


def _utf8(text: bytes, what: str) -> str:
    if b"\0" in text:
        raise ArtifactError(f"{what} holds a name with a zero byte in it")
    try:
        return text.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ArtifactError(f"{what} holds a name that is not UTF-8") from error
