# SPDX-License-Identifier: Apache-2.0
"""How a payload's files reach an update module while they are downloaded (protocol version 3).

The module opens the FIFO `stream-next` and reads the name of another FIFO, from which it reads one file to its end;
an empty answer says that there are no more.  A module that never opens `stream-next` gets the files stored.
"""

from __future__ import annotations

import errno
import os
import select
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from updater.errors import UpdaterError
from updater.process import Child

if TYPE_CHECKING:
    from updater.artifact import PayloadFile

CHUNK = 1024 * 1024
PIPE_WAIT = 50  # milliseconds until the module is looked at again


class Streams:
    """Feeds `files` to the module that `start` starts, working in `tree`."""

    def __init__(self, tree: Path, files: Iterator[PayloadFile], sizes: bool) -> None:
        self._tree, self._files, self._sizes = tree, files, sizes

    def feed(self, start: Callable[[], Child]) -> None:
        """Run the module's download to its end.

        Raises:
            ArtifactError: the artifact is damaged.
            UpdaterError: the module failed, hung, or did not keep to the protocol.
        """
        (self._tree / "streams").mkdir(exist_ok=True)
        next_fifo = self._tree / "stream-next"
        next_fifo.unlink(missing_ok=True)
        os.mkfifo(next_fifo, 0o600)
        child = start()
        try:
            if self._announce(child, self._next_line()):
                self._finish(child)
                return
        except BaseException:
            child.end()
            raise
        code = child.wait()
        _must_be_zero(child, code)
        self._store()

    def _next_line(self) -> bytes:
        self._current = next(self._files, None)
        if self._current is None:
            return b""
        fifo = f"streams/{self._current.name}"
        os.mkfifo(self._tree / fifo, 0o600)
        return f"{fifo} {self._current.size}\n".encode() if self._sizes else f"{fifo}\n".encode()

    def _announce(self, child: Child, line: bytes) -> bool:
        """Answer one opening of `stream-next`; False if the module ended without opening it."""
        fd = _open_for_writing(self._tree / "stream-next", child)
        if fd is None:
            return False
        try:
            _write(fd, line, child)
        finally:
            os.close(fd)
        return True

    def _finish(self, child: Child) -> None:
        """All files after the first announcement, and the end."""
        while self._current is not None:
            self._send(child)
            if not self._announce(child, self._next_line()):
                raise UpdaterError(f"The update module {child.name} ended before it had taken all files.")
        _must_be_zero(child, child.wait())

    def _send(self, child: Child) -> None:
        assert self._current is not None
        fifo = self._tree / "streams" / self._current.name
        fd = _open_for_writing(fifo, child)
        if fd is None:
            raise UpdaterError(f"The update module {child.name} ended without reading {self._current.name}.")
        try:
            while chunk := self._current.read(CHUNK):
                child.check_time()
                _write(fd, chunk, child)
        finally:
            os.close(fd)
        fifo.unlink()

    def _store(self) -> None:
        """The module did not want streams: keep the files for it."""
        directory = self._tree / "files"
        try:
            directory.mkdir(exist_ok=True)
            while self._current is not None:
                (self._tree / "streams" / self._current.name).unlink(missing_ok=True)
                with (directory / self._current.name).open("wb") as file:
                    while chunk := self._current.read(CHUNK):
                        file.write(chunk)
                self._current = next(self._files, None)
        except OSError as error:
            raise UpdaterError(f"The payload cannot be stored for the update module: {error.strerror}.") from error


def _must_be_zero(child: Child, code: int) -> None:
    if code:
        raise UpdaterError(f"The update module {child.name} failed with status {code} while it took the payload.")


def _open_for_writing(fifo: Path, child: Child) -> int | None:
    """The FIFO once the module has it open for reading; None if the module ended first."""
    while True:
        try:
            return os.open(fifo, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except OSError as error:
            if error.errno != errno.ENXIO:
                raise UpdaterError(f"The stream {fifo.name} cannot be opened: {error.strerror}.") from error
        if not child.running():
            return None


def _write(fd: int, data: bytes, child: Child) -> None:
    rest = memoryview(data)
    while rest:
        try:
            rest = rest[os.write(fd, rest) :]
        except BlockingIOError:
            _, ready, _ = select.select([], [fd], [], PIPE_WAIT / 1000)
            if not ready and not child.running():
                raise UpdaterError(f"The update module {child.name} ended while it was reading.") from None
        except BrokenPipeError as error:
            raise UpdaterError(f"The update module {child.name} stopped reading before the end of a file.") from error
