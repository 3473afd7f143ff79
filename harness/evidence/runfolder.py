# SPDX-License-Identifier: Apache-2.0
"""The folder of one run: all that is needed to look again.

events.jsonl      what happened, in order            console-N.log      the serial line of power-on N
about.json        scenario, seeds, QEMU, images      argv-N.json        QEMU's command line at power-on N
images.json       what each version is, by SHA-256   writelog-N.json    the write log of power-on N in short
cuts.json         each cut as a value                environment-N.json U-Boot's variables around cut N
verdicts.json     every verdict with every rule      claims.json        what else was claimed
table.svg         the table, as a picture            packages.json      Debian's packages in the images
deployment-log.json  what the device sent on failure qemu.log, server.log, server/   the programs beside it

Kept if something did not hold: disk-N.qcow2 (over the factory's image in the cache), write-N.log, data-factory.img.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import allure

from harness.errors import HostProblem
from harness.evidence.picture import picture
from harness.evidence.table import Row

BULKY = ("disk-*.qcow2", "write-*.log", "data-*.img", "requests-*.log", "*.mender", "server/artifacts/*.mender")
TABLE = "table.svg"
KINDS = {
    ".json": allure.attachment_type.JSON,
    ".jsonl": allure.attachment_type.TEXT,
    ".log": allure.attachment_type.TEXT,
}
ATTACHED_LIMIT = 256 * 1024


class RunFolder:
    """A new folder below `parent`, named after the time (UTC), the scenario and the seed of the whole run.

    Raises:
        HostProblem: it cannot be made.
    """

    def __init__(self, parent: Path, name: str, seed: int) -> None:
        stamp = datetime.now(UTC).strftime("%Y%m%dT%H%M%S.%f")[:-3]
        self.path = parent.resolve() / f"{stamp}-{name}-{seed}"
        try:
            self.path.mkdir(parents=True)
        except OSError as error:
            raise HostProblem(
                f"No run folder can be made in {parent}: {error.strerror}.", "Name another place with --runs."
            ) from error
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
