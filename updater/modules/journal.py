# SPDX-License-Identifier: Apache-2.0
"""What a module that can roll back must know after a loss of power, and the states that follow from it.

Two files in `tmp/`.  The record says how to bring the former content back; it is durable before anything is changed
and removed when nothing is left to be brought back, so without it there is nothing to do.  The second file, empty,
says that the update was committed, so that what is kept for a rollback may go.  Going back takes no room: files are
removed for it, none is written.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

from updater.modules.durable import Disk, exists, remove_file, write_bytes
from updater.modules.problems import ModuleError
from updater.modules.protocol import Action, Module
from updater.modules.workdir import Workdir

FORMAT = 1
Facts = dict[str, Any]
Step = Callable[[Facts], None]


class Journal:
    """The record of one update in one working directory."""

    def __init__(self, disk: Disk, work: Workdir) -> None:
        self._disk = disk
        self._work = work
        self._record = work.tmp / "bootproof-record.json"
        self._committed = work.tmp / "bootproof-committed"

    def facts(self) -> Facts | None:
        """What was noted before the first change; None if nothing is changed, or nothing any more.

        Raises:
            ModuleError: there is a record, but it is not one of ours.
        """
        try:
            raw = json.loads(self._record.read_bytes())
        except (FileNotFoundError, NotADirectoryError):
            return None
        except ValueError as error:
            raise ModuleError(f"{self._record} is damaged: {error}.") from error
        if not isinstance(raw, dict) or raw.get("format") != FORMAT or not isinstance(raw.get("facts"), dict):
            raise ModuleError(f"{self._record} was written by another version of this module.")
        return dict(raw["facts"])

    def begin(self, facts: Facts) -> None:
        """From here on the former content is brought back unless the update is committed."""
        if not self._work.tmp.is_dir():
            self._disk.mkdir(self._work.tmp)
            self._disk.fsync(self._work.root)
        remove_file(self._disk, self._committed)
        write_bytes(self._disk, self._record, json.dumps({"format": FORMAT, "facts": facts}).encode())

    def commit(self) -> None:
        if self.facts() is not None:
            write_bytes(self._disk, self._committed, b"")

    def roll_back(self, restore: Step) -> None:
        """`restore` brings the former content back and leaves nothing else; it may have been begun before."""
        facts = self.facts()
        if facts is None:
            return
        remove_file(self._disk, self._committed)
        restore(facts)
        remove_file(self._disk, self._record)

    def clean_up(self, restore: Step, sweep: Step) -> None:
        """`sweep` removes what was kept.  Without a commit or a rollback it has failed halfway: back with it."""
        if not exists(self._committed):
            self.roll_back(restore)
            return
        facts = self.facts()
        if facts is not None:
            sweep(facts)
        # In this order: a record without a commit would be rolled back.
        remove_file(self._disk, self._record)
        remove_file(self._disk, self._committed)


def journalled(
    name: str, disk: Disk, install: Action, restore: Callable[[Workdir, Facts], None], sweep: Step
) -> Module:
    """A module whose `install` changes files, and that needs nothing but its record to go back."""

    def rolled_back(work: Workdir) -> None:
        Journal(disk, work).roll_back(partial(restore, work))

    def cleaned_up(work: Workdir) -> None:
        Journal(disk, work).clean_up(partial(restore, work), sweep)

    return Module(
        name,
        {
            "ArtifactInstall": install,
            "ArtifactCommit": lambda work: Journal(disk, work).commit(),
            "ArtifactRollback": rolled_back,
            "Cleanup": cleaned_up,
        },
        rollback=True,
    )
