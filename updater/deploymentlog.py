# SPDX-License-Identifier: Apache-2.0
"""The log of a deployment: kept on the data partition, uploaded if the deployment fails.

One JSON object a line (`timestamp`, `level`, `message`).  It is a help, not a record: it is not flushed, and a
damaged line is replaced when it is read.
"""

from __future__ import annotations

import json
import logging
from datetime import UTC, datetime
from pathlib import Path

KEPT = 5
MESSAGE_LIMIT = 2000
MESSAGES_LIMIT = 500
LINES_LIMIT = 5000  # of one life of this process: a report that is retried for weeks must not fill the disk


class DeploymentLog(logging.Handler):
    """A log handler that also writes to the file of the deployment under way."""

    def __init__(self, directory: Path) -> None:
        super().__init__(logging.INFO)
        self._directory = directory
        self._path: Path | None = None
        self._lines = 0

    def start(self, deployment: str) -> None:
        """From now on messages belong to `deployment`; the oldest logs are removed."""
        self._path, self._lines = self._file(deployment), 0
        others = sorted(self._directory.glob("deployments.*.log"), key=lambda path: path.stat().st_mtime)
        for old in others[: -KEPT + 1]:
            if old != self._path:
                old.unlink(missing_ok=True)

    def stop(self) -> None:
        """What is said from now on belongs to no deployment."""
        self._path = None

    def emit(self, record: logging.LogRecord) -> None:
        if self._path is None or self._lines >= LINES_LIMIT:
            return
        self._lines += 1
        line = {
            "timestamp": datetime.fromtimestamp(record.created, UTC).isoformat().replace("+00:00", "Z"),
            "level": record.levelname.lower(),
            "message": record.getMessage()[:MESSAGE_LIMIT],
        }
        try:
            with self._path.open("a") as file:
                file.write(json.dumps(line) + "\n")
        except OSError:
            self._path = None  # a full data partition must not stop an update

    def messages(self, deployment: str) -> list[dict[str, str]]:
        """What was logged, the newest last, at most MESSAGES_LIMIT of them."""
        try:
            lines = self._file(deployment).read_text(errors="replace").splitlines()
        except OSError:
            return []
        return [_message(line) for line in lines[-MESSAGES_LIMIT:]]

    def _file(self, deployment: str) -> Path:
        safe = "".join(character for character in deployment if character.isalnum() or character in "-_")
        return self._directory / f"deployments.0000.{safe}.log"


def _message(line: str) -> dict[str, str]:
    try:
        found = json.loads(line)
        datetime.fromisoformat(found["timestamp"])  # one wrong time would cost the whole log
        return {name: str(found[name]) for name in ("timestamp", "level", "message")}
    except (ValueError, KeyError, TypeError):
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        return {"timestamp": now, "level": "warning", "message": "(a damaged line of the log was here)"}
