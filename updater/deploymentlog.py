# SPDX-License-Identifier: Apache-2.0
"""The log of a deployment: kept on the data partition, uploaded if the deployment fails.

One JSON object a line (`timestamp`, `level`, `message`).  It is a help, not a record: it is not flushed, and a
damaged line is replaced when it is read.  The newest log has the number 0, and each deployment that begins makes the
others one older.
"""

from __future__ import annotations

import json
import logging
import os
import re
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

KEPT = 5
MESSAGE_LIMIT = 2000
MESSAGES_LIMIT = 500
LINES_LIMIT = 5000  # of one life of this process: a report that is retried for weeks must not fill the disk
LINE_LIMIT = 65536  # bytes; what is longer was not written by this program
UPLOAD_LIMIT = 1024 * 1024  # bytes of JSON
NOTICE = 256  # of them: the message that tells what is missing, and what stands around all messages
ROOM = 100 * 1024  # bytes that must be free for a log to begin
NAME = re.compile(r"deployments\.(\d{4})\.(.*)\.log", re.DOTALL)
TIME = re.compile(
    r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)", re.ASCII
)  # RFC 3339: servers take no other
DAMAGED = "(a damaged line of the log was here)"
log = logging.getLogger(__name__)
Message = dict[str, str]


def free_bytes(directory: Path) -> int:
    """How much may still be written there."""
    found = os.statvfs(directory)
    return found.f_bavail * found.f_frsize


class DeploymentLog(logging.Handler):
    """A log handler that also writes to the file of the deployment under way, in `directory`."""

    def __init__(
        self, directory: Path, *, upload_limit: int = UPLOAD_LIMIT, free: Callable[[Path], int] = free_bytes
    ) -> None:
        super().__init__(logging.INFO)
        self._directory, self._upload_limit, self._free = directory, upload_limit, free
        self._path: Path | None = None
        self._lines = 0

    def start(self, deployment: str) -> None:
        """From now on messages belong to `deployment`; its log goes on if there is one, and the oldest are removed."""
        self._path, self._lines = None, 0
        try:
            free = self._free(self._directory)
            if free < ROOM:
                log.warning("no log of this deployment is kept: only %d bytes are free in %s", free, self._directory)
                return
            path = self._renumber(_safe(deployment))
            _end_line(path)
            self._path = path
        except OSError as error:  # a log that cannot be written must not stop an update
            log.warning("no log of this deployment is kept: %s", error)

    def stop(self) -> None:
        """What is said from now on belongs to no deployment."""
        self._path = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._path is None or self._lines >= LINES_LIMIT:
            return
        self._lines += 1
        try:
            line = _message(record.created, record.levelname.lower(), record.getMessage()[:MESSAGE_LIMIT])
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError:
            self._path = None  # a full data partition must not stop an update

    def messages(self, deployment: str) -> list[Message]:
        """What was logged, the newest last: at most MESSAGES_LIMIT, and no more than may be uploaded.

        If that is not everything, the first one says how much is missing.
        """
        kept: deque[tuple[Message, int]] = deque()
        total = left_out = 0
        for message in self._read(deployment):
            size = len(json.dumps(message)) + 2
            kept.append((message, size))
            total += size
            # One place is for the first one that tells.
            while kept and (len(kept) > MESSAGES_LIMIT - bool(left_out) or total > self._upload_limit - NOTICE):
                total -= kept.popleft()[1]
                left_out += 1
        found = [message for message, _ in kept]
        if left_out:
            at = found[0]["timestamp"] if found else _timestamp(0)
            text = f"({left_out} earlier messages are left out, because the log is too long)"
            found.insert(0, {"timestamp": at, "level": "warning", "message": text})
        return found

    def _read(self, deployment: str) -> Iterator[Message]:
        name = _safe(deployment)
        path = next((path for _, found, path in self._logs() if found == name), None)
        if path is None:
            return
        try:
            last = _timestamp(path.stat().st_mtime)
            with path.open("rb") as file:
                for line in _lines(file):
                    message = _parse(line) or {"timestamp": last, "level": "warning", "message": DAMAGED}
                    last = message["timestamp"]
                    yield message
        except OSError as error:
            log.warning("the log of the deployment cannot be read: %s", error)

    def _logs(self) -> list[tuple[int, str, Path]]:
        """Number, deployment and path of all logs, the newest first."""
        named = ((NAME.fullmatch(path.name), path) for path in self._directory.glob("deployments.*.log"))
        # Only what power cuts leave has the same number twice; then the one written last is the newer.
        found = [(int(name[1]), -path.stat().st_mtime, name[2], path) for name, path in named if name]
        return [(number, name, path) for number, _, name, path in sorted(found)]

    def _renumber(self, current: str) -> Path:
        """Make `current` number 0 and the others older; returns its path."""
        logs = self._logs()
        mine = [path for _, name, path in logs if name == current]
        others = [(name, path) for _, name, path in logs if name != current]
        for path in [*mine[1:], *(path for _, path in others[KEPT - 1 :])]:
            path.unlink(missing_ok=True)
        # Names differ by their deployment, so no log is ever renamed onto another.
        for number, (name, path) in enumerate(others[: KEPT - 1], 1):
            path.rename(self._file(number, name))
        target = self._file(0, current)
        if mine:
            mine[0].rename(target)
        return target

    def _file(self, number: int, name: str) -> Path:
        return self._directory / f"deployments.{number:04}.{name}.log"


def _safe(deployment: str) -> str:
    """What of a deployment's name can be part of a file's."""
    return "".join(one for one in deployment if one.isascii() and (one.isalnum() or one in "-_"))


def _end_line(path: Path) -> None:
    """A power cut in the middle of a line must not damage the next one too."""
    with path.open("ab+") as file:
        if file.seek(0, os.SEEK_END):
            file.seek(-1, os.SEEK_END)
            if file.read(1) != b"\n":
                file.write(b"\n")


def _lines(file: BinaryIO) -> Iterator[bytes]:
    """The lines of a file without their ends; of one that is too long only the beginning."""
    while line := file.readline(LINE_LIMIT):
        yield line.rstrip(b"\n")
        while len(line) == LINE_LIMIT and not line.endswith(b"\n"):
            line = file.readline(LINE_LIMIT)


def _parse(line: bytes) -> Message | None:
    """A line as it was written, or None if it is damaged."""
    try:
        found = json.loads(line)
        message = {name: found[name] for name in ("timestamp", "level", "message")}
        if not all(isinstance(value, str) for value in message.values()) or not TIME.fullmatch(message["timestamp"]):
            return None
        datetime.fromisoformat(message["timestamp"])  # one wrong time would cost the whole log
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return message


def _message(created: float, level: str, text: str) -> Message:
    return {"timestamp": _timestamp(created), "level": level, "message": text}


def _timestamp(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")
