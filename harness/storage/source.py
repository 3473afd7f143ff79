# SPDX-License-Identifier: Apache-2.0
"""Reading and copying parts of the files that a disk is put together from.

Owns open files and the fast way to copy between them.  Refuses to change what it reads, and to make up what is
missing: a part that is not there is an error, never zeros.
"""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Final, Self

CHUNK: Final = 1 << 20
FILL_BYTES: Final = 32 * 1024
FILLS: Final = {"zeros": Path("fill:zeros"), "ones": Path("fill:ones")}  # sources that are no files, FILL_BYTES long
FILL_BYTE: Final = {FILLS["zeros"]: b"\x00", FILLS["ones"]: b"\xff"}
WORTH_PROBING: Final = 1 << 16  # below this a hole saves less than looking for it costs
NO_KERNEL_COPY: Final = {errno.EXDEV, errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.EPERM, errno.EBADF}


class Sources:
    """Files open for reading, each opened once and closed together; a context manager."""

    def __init__(self) -> None:
        self._open: dict[Path, int] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        while self._open:
            os.close(self._open.popitem()[1])

    def chunks(self, path: Path, offset: int, length: int) -> Iterator[bytes]:
        """The bytes of a part of a file, at most 1 MiB at a time.

        Raises:
            EOFError: the file ends inside the part.
            OSError: the file cannot be read.
        """
        fd = self._fd(path)
        end = offset + length
        while offset < end:
            data = os.pread(fd, min(CHUNK, end - offset), offset)
            if not data:
                raise EOFError(f"{path.name} ends at byte {offset}, before byte {end}.")
            yield data
            offset += len(data)

    def copy(self, path: Path, offset: int, length: int, into: int, at: int) -> None:
        """Copy a part of a file to offset `at` of the file descriptor `into`, which must read as zeros there.

        Holes stay holes; the kernel copies where it can, so nothing passes through this process.

        Raises:
            EOFError: the file ends inside the part.
            OSError: a file cannot be read or written.
        """
        fd = self._fd(path)
        shift = at - offset
        for start, end in _filled(fd, offset, offset + length):
            copied = _kernel_copy(fd, start, end, into, shift)
            for data in self.chunks(path, copied, end - copied):
                write_all(into, data, copied + shift)
                copied += len(data)

    def _fd(self, path: Path) -> int:
        fd = self._open.get(path)
        if fd is None:
            fd = self._open[path] = _filled_with(FILL_BYTE[path]) if path in FILL_BYTE else _opened(path)
        return fd


def _opened(path: Path) -> int:
    return os.open(path, os.O_RDONLY | os.O_CLOEXEC)


def _filled_with(byte: bytes) -> int:
    fd = os.memfd_create("fill", os.MFD_CLOEXEC)
    write_all(fd, byte * FILL_BYTES, 0)
    return fd


def _filled(fd: int, start: int, end: int) -> Iterator[tuple[int, int]]:
    """The parts of [start, end) that are not holes; what lies past the end of the file counts as filled."""
    size = os.fstat(fd).st_size
    if end - start < WORTH_PROBING or start >= size:
        yield start, end
        return
    while start < min(end, size):
        try:
            data = os.lseek(fd, start, os.SEEK_DATA)
        except OSError as error:
            if error.errno != errno.ENXIO:  # ENXIO: nothing but a hole up to the end of the file
                raise
            break
        if data >= end:
            break
        hole = min(os.lseek(fd, data, os.SEEK_HOLE), end)
        yield data, hole
        start = hole
    if end > size:
        yield size, end


def _kernel_copy(fd: int, start: int, end: int, into: int, shift: int) -> int:
    """Copy as much as the kernel is able to, and return where it stopped."""
    while start < end:
        try:
            count = os.copy_file_range(fd, into, end - start, start, start + shift)
        except OSError as error:
            if error.errno not in NO_KERNEL_COPY:
                raise
            break
        if not count:
            break
        start += count
    return start


def write_all(fd: int, data: bytes, at: int) -> None:
    """Write all of the data at this offset.

    Raises:
        OSError: the file cannot be written.
    """
    view = memoryview(data)
    while view:
        count = os.pwrite(fd, view, at)
        view = view[count:]
        at += count
