# SPDX-License-Identifier: Apache-2.0
"""The folder of one run: all that is needed to look again.

events.jsonl      what happened, in order            console-N.log   the serial line of power-on N
about.json        seed, versions, digests            environment-N.json   U-Boot's variables around cut N
argv.json         QEMU's command line                table.svg            the table at the end, as a picture
verdicts.json     every verdict with every rule      write-N.log     the write log (kept on failure)
cuts.json         each cut: log position, what was lost, digest of the resulting media
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import allure

from harness.evidence.picture import picture
from harness.evidence.table import Row

BULKY = ("disk-*.qcow2", "write-*.log", "data-*.img")
TABLE = "table.svg"
KINDS = {
    ".json": allure.attachment_type.JSON,
    ".jsonl": allure.attachment_type.TEXT,
    ".log": allure.attachment_type.TEXT,
}
ATTACHED_LIMIT = 256 * 1024


class RunFolder:
    """A new folder below `parent`, named after the time (UTC), the scenario and the seed."""

    def __init__(self, parent: Path, name: str, seed: int) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        self.path = parent.resolve() / f"{stamp}-{name}-{seed}"
        self.path.mkdir(parents=True)
        self._lists: dict[str, list[Any]] = {}

    def __truediv__(self, name: str) -> Path:
        return self.path / name

    def write(self, name: str, content: Any) -> None:
        """Keep a document as JSON."""
        (self.path / name).write_text(json.dumps(content, indent=1, default=str) + "\n")

    def append(self, name: str, item: Any) -> None:
        """Add an item to a list kept as JSON."""
        kept = self._lists.setdefault(name, [])
        kept.append(item)
        self.write(name, kept)

    def picture(self, rows: Sequence[Row], title: str) -> None:
        """Keep the table as `table.svg`, and show it in the Allure report of the test that runs."""
        (self.path / TABLE).write_text(picture(rows, title))
        allure.attach.file(str(self.path / TABLE), name=TABLE, attachment_type=allure.attachment_type.SVG)  # type: ignore[no-untyped-call]

    def drop_bulk(self) -> None:
        """Remove what is large and only needed to look into a failure."""
        for pattern in BULKY:
            for path in self.path.glob(pattern):
                path.unlink()

    def attach(self) -> None:
        """Put the readable part into the Allure report."""
        for path in sorted(self.path.iterdir()):
            kind = None if path.match("write-*.log") else KINDS.get(path.suffix)
            if kind and 0 < path.stat().st_size <= ATTACHED_LIMIT:
                allure.attach.file(str(path), name=path.name, attachment_type=kind)  # type: ignore[no-untyped-call]
