# SPDX-License-Identifier: Apache-2.0
"""Installs a payload through an update module: a program of this device, by the name of the payload's type."""

from __future__ import annotations

import logging
import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from updater.errors import UpdaterError
from updater.install.installer import Progress, Reboot
from updater.install.streams import Streams
from updater.install.tree import Tree
from updater.ports import Clock
from updater.process import Child
from updater.store import Device, Update

if TYPE_CHECKING:
    from updater.artifact import Artifact

Answer = TypeVar("Answer")
ANSWERS = {"": Reboot.NO, "No": Reboot.NO, "Yes": Reboot.CUSTOM, "Automatic": Reboot.AUTOMATIC}
log = logging.getLogger(__name__)


@dataclass
class UpdateModule:
    """The module at `program`, working in `tree`; `timeout` in seconds bounds each of its states."""

    program: Path
    tree: Tree
    clock: Clock
    timeout: float
    device: Device
    device_type: str
    restarts_allowed: bool = False
    _child: Child | None = field(default=None, init=False)
    goes_on: bool = False  # the protocol knows no second download

    def planned(self, update: Update, _: Artifact) -> Update:
        """See that there is such a module.

        Raises:
            UpdaterError: there is none, or it cannot be run.
        """
        if not self.program.is_file():
            raise UpdaterError(f"There is no update module for payloads of type '{self.program.name}' on this device.")
        if not os.access(self.program, os.X_OK):
            raise UpdaterError(f"The update module {self.program} is not executable.")
        return update

    def download(self, artifact: Artifact, asks_for_sizes: bool, _: Progress | None = None) -> None:
        self.tree.make(artifact, self.device, self.device_type)
        sizes = asks_for_sizes and self._ask("ProvidePayloadFileSizes", {"": False, "No": False, "Yes": True})
        state = "DownloadWithFileSizes" if sizes else "Download"
        try:
            Streams(self.tree.path, artifact.files(), sizes).feed(lambda: self._start(state))
        finally:
            if self._child is not None:
                self._log(self._child, failed=False)
        self.tree.flush()

    def call(self, state: str) -> None:
        if state == "Cleanup":
            try:
                self._run(state)
            finally:
                self.tree.remove()
        else:
            self._run(state)

    def reboot(self) -> Reboot:
        return self._ask("NeedsArtifactReboot", ANSWERS)

    def can_roll_back(self) -> bool:
        return self._ask("SupportsRollback", {"": False, "No": False, "Yes": True})

    def rollback_needs_reboot(self, asked: Reboot) -> bool:
        return asked is not Reboot.NO

    # The protocol has no such questions, so the careful answer is given.

    def on_trial(self) -> bool:
        return False

    def kept(self) -> bool:
        return False

    def restored(self) -> bool:
        return False

    def abandon(self) -> None:
        pass

    def _start(self, state: str) -> Child:
        log.info("calling the update module %s with %s", self.program.name, state)
        argv = [str(self.program), state, str(self.tree.path)]
        cwd = self.tree.path if self.tree.path.is_dir() else None
        self._child = Child(argv, self.clock, self.timeout, cwd, owner=str(self.tree.owner))
        return self._child

    def _run(self, state: str) -> str:
        child = self._start(state)
        code = -1
        try:
            code = child.wait()
        finally:
            self._log(child, failed=code != 0)
        if code:
            raise UpdaterError(f"The update module {self.program.name} failed in {state} with status {code}.")
        return child.output

    def _log(self, child: Child, *, failed: bool) -> None:
        for line in child.lines():
            log.log(logging.ERROR if failed else logging.INFO, "%s: %s", self.program.name, line)

    def _ask(self, question: str, answers: dict[str, Answer]) -> Answer:
        printed = self._run(question)
        answer = printed.removesuffix("\n")
        if answer not in answers:
            shown = answer.splitlines()[0][:80] if answer else ""
            raise UpdaterError(f"The update module {self.program.name} answered {question} with '{shown}'.")
        return answers[answer]
