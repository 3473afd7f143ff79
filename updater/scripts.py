# SPDX-License-Identifier: Apache-2.0
"""State scripts: programs of the image or the artifact that run around the steps of an update.

Scripts of the root file system run around Idle, Sync and Download; those of an artifact around everything from its
installation on.  They run in the order of their names; 0 is success, 21 asks to be run again later (Mender's rules).
"""

from __future__ import annotations

import logging
import os
import re
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from updater.errors import UpdaterError
from updater.ports import Clock
from updater.process import Child
from updater.recordfile import flush_directory, write_durably

ROOTFS_STATES = ("Idle", "Sync", "Download")
VERSION_FILE = "version"
SUPPORTED = ("2", "3")
WRITTEN = "3"
AGAIN = 21
log = logging.getLogger(__name__)


class ScriptFailed(UpdaterError):
    """A state script failed; the message says which and how."""


@dataclass(frozen=True)
class Limits:
    """All in seconds: how long one script may run, the pause before it is run again, and for how long that is done."""

    timeout: float = 3600
    retry_interval: float = 60
    retry_timeout: float = 1800


@dataclass(frozen=True)
class StateScripts:
    """The scripts of this device, in their two directories.

    `strict` takes the rules of Mender 3: the version file must be there, and a file that cannot be run is an error.
    """

    rootfs: Path
    artifact: Path
    clock: Clock
    limits: Limits = Limits()
    strict: bool = False

    def run(self, state: str, moment: str) -> None:
        """Run the scripts of one transition; those of moment Error are all run, and none of them fails.

        Raises:
            ScriptFailed: one failed, hung, or asked for another try too often.
        """
        try:
            found = self._find(state, moment)
        except OSError as error:
            raise ScriptFailed(f"The state scripts cannot be read: {error.strerror}.") from error
        if found:
            self._check(found[0].parent)
        until: float | None = None  # one allowance of tries for all scripts of a transition
        for script in found:
            try:
                until = self._run(script, until)
            except UpdaterError as error:
                if moment != "Error":
                    raise ScriptFailed(str(error)) from error
                log.error("%s", error)

    def names(self) -> list[str]:
        """The names of the artifact's scripts."""
        return sorted(path.name for path in self.artifact.glob("Artifact*"))

    def store(self, scripts: Mapping[str, bytes]) -> None:
        """Replace the artifact's scripts by these, durably.

        Raises:
            UpdaterError: they cannot be written.
        """
        try:
            self.remove()
            self.artifact.mkdir(parents=True)
            for name, content in scripts.items():
                write_durably(self.artifact / name, content, mode=0o755)
            write_durably(self.artifact / VERSION_FILE, WRITTEN.encode())
        except OSError as error:
            raise UpdaterError(f"The state scripts cannot be stored: {error.strerror}.") from error

    def remove(self) -> None:
        """Forget the artifact's scripts, for good."""
        shutil.rmtree(self.artifact, ignore_errors=True)
        with suppress(OSError):
            flush_directory(self.artifact.parent)

    def check_rootfs(self) -> None:
        """See that the root file system's scripts are of a version that is understood.

        Raises:
            ScriptFailed: they are not.
        """
        if self.rootfs.is_dir() and any(path.name != VERSION_FILE for path in self.rootfs.iterdir()):
            self._check(self.rootfs)

    def _check(self, directory: Path) -> None:
        file = directory / VERSION_FILE
        if not file.exists():
            if self.strict:
                raise ScriptFailed(f"{directory} holds state scripts and no version file.")
            return
        try:
            version = file.read_text().strip()
        except (OSError, ValueError) as error:
            raise ScriptFailed(f"{file} cannot be read: {error}.") from error
        if version not in SUPPORTED:
            raise ScriptFailed(f"{file} asks for version '{version[:20]}' of state scripts; 2 and 3 are supported.")

    def _find(self, state: str, moment: str) -> list[Path]:
        directory = self.rootfs if state in ROOTFS_STATES else self.artifact
        pattern = re.compile(rf"{state}_{moment}_[0-9]{{2}}(_\S+)?")
        if not directory.is_dir():
            return []
        found = sorted(path for path in directory.iterdir() if pattern.fullmatch(path.name))
        able = [path for path in found if os.access(path, os.X_OK)]  # a link that leads nowhere is not
        for path in set(found) - set(able):
            if self.strict:
                raise ScriptFailed(f"The state script {path.name} cannot be run; make it executable.")
            log.warning("the state script %s is skipped, since it is not executable", path.name)
        return able

    def _run(self, script: Path, until: float | None) -> float | None:
        while True:
            log.info("running the state script %s", script.name)
            ours = script.parent == self.artifact
            child = Child(
                [str(script)], self.clock, self.limits.timeout, owner=str(self.artifact.parent) if ours else ""
            )
            try:
                code = child.wait()
            finally:
                for line in child.lines():
                    log.info("%s: %s", script.name, line)
            if code == 0:
                return until
            if code != AGAIN:
                raise ScriptFailed(f"The state script {script.name} failed with status {code}.")
            if until is None:
                until = self.clock.now() + self.limits.retry_timeout
            if self.clock.now() + self.limits.retry_interval > until:
                raise ScriptFailed(
                    f"The state script {script.name} asked for another try for {self.limits.retry_timeout:.0f} s."
                )
            self.clock.sleep(self.limits.retry_interval)
