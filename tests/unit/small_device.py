# SPDX-License-Identifier: Apache-2.0
"""A device in a directory: its configuration, one update module written in shell, and its commands as processes."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from updater.artifact import write_bootstrap_artifact, write_module_artifact

ROOT = Path(__file__).parents[2]
MODULE = "test-module"
DEVICE_TYPE = "board"


@dataclass(frozen=True)
class SmallDevice:
    """Everything of it lies below `folder`; what module and scripts do is written to one journal."""

    folder: Path

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def journal(self) -> Path:
        return self.folder / "journal"

    @property
    def did(self) -> list[str]:
        """What module and scripts were called with, in order."""
        return self.journal.read_text().split() if self.journal.exists() else []

    def make(self, **answers: str) -> SmallDevice:
        """Furnish it; `answers` are lines of shell to run in a state of the module."""
        for name in ("conf/scripts", "share/modules/v3", "data"):
            (self.folder / name).mkdir(parents=True, exist_ok=True)
        (self.folder / "conf/artifact_info").write_text("artifact_name=old\n")
        (self.folder / "conf/mender.conf").write_text("{}")
        (self.data / "device_type").write_text(f"device_type={DEVICE_TYPE}\n")
        return self.module(**answers)

    def module(self, **answers: str) -> SmallDevice:
        """Replace the module."""
        cases = "".join(f"  {state}) {lines} ;;\n" for state, lines in answers.items())
        queries = "NeedsArtifactReboot|SupportsRollback|ProvidePayloadFileSizes"
        text = (
            f"#!/bin/sh\ncase $1 in\n  {queries}) ;;\n  *) echo $1 >>{self.journal} ;;\nesac\n"
            f"case $1 in\n{cases}esac\nexit 0\n"
        )
        return self.program(self.folder / "share/modules/v3" / MODULE, text)

    def program(self, path: Path, text: str) -> SmallDevice:
        path.write_text(text)
        path.chmod(0o755)
        return self

    def artifact(self, name: str = "new", scripts: dict[str, str] | None = None, **options: object) -> Path:
        """An artifact for the module with two files; `scripts` are lines of shell, and each is written down."""
        files = [self.folder / "one", self.folder / "two"]
        for file in files:
            file.write_bytes(file.name.encode() * 5000)
        path = self.folder / f"{name}.mender"
        told = {
            script: f"#!/bin/sh\necho {script} >>{self.journal}\n{lines}\n".encode()
            for script, lines in (scripts or {}).items()
        }
        with path.open("wb") as out:
            write_module_artifact(
                out, payload_type=MODULE, files=files, name=name, device_types=[DEVICE_TYPE], scripts=told, **options,  # type: ignore[arg-type]
            )  # fmt: skip
        return path

    def empty_artifact(self, path: Path, name: str = "new") -> Path:
        with path.open("wb") as out:
            write_bootstrap_artifact(out, name=name, device_types=[DEVICE_TYPE])
        return path

    def run(self, *words: str, stdin: bytes = b"", options: tuple[str, ...] = ()) -> subprocess.CompletedProcess[bytes]:
        """One command of `mender-update`, to its end."""
        env = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MENDER_CONF_DIR": str(self.folder / "conf"),
            "MENDER_DATASTORE_DIR": str(self.data),
            "MENDER_DATA_DIR": str(self.folder / "share"),
        }
        argv = [sys.executable, "-m", "updater", "--log-level", "error", "--time-scale", "0.01", *options, *words]
        return subprocess.run(argv, env=env, input=stdin, capture_output=True, timeout=120, check=False)

    @property
    def installed(self) -> str:
        return self.run("show-artifact").stdout.decode().strip()
