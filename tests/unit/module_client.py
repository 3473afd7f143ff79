# SPDX-License-Identifier: Apache-2.0
"""A client of the module protocol, as small as can be: it makes the tree and runs the program state by state."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from updater.modules import launcher

ROOT = Path(__file__).parents[2]
Snapshot = dict[str, tuple[str, int, Any]]

USER = ["unshare", "--user", "--map-root-user", "--mount"]


@dataclass
class Client:
    """One update with the module `name`, in `work`.  `calls` is what was run, with the exit codes."""

    name: str
    work: Path
    environment: dict[str, str] = field(default_factory=dict)
    calls: list[tuple[str, int]] = field(default_factory=list)
    said: str = ""
    around: Sequence[str] = ()

    def __post_init__(self) -> None:
        self.program = self.work.parent / f"modules-{self.work.name}" / self.name
        self.program.parent.mkdir(parents=True, exist_ok=True)
        self.program.write_text(launcher(self.name, sys.executable))
        self.program.chmod(0o755)

    def bring(self, files: Mapping[str, bytes], meta_data: Any = None) -> "Client":
        bring(self.work, self.name, files, meta_data)
        return self

    def start(self, state: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [*self.around, str(self.program), state, str(self.work)],
            cwd=self.work,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "PYTHONPATH": str(ROOT), **self.environment},
            start_new_session=True,
        )

    def call(self, state: str) -> int:
        """The exit code; `said` is what came on both lines."""
        with self.start(state) as process:
            out, err = process.communicate(timeout=300)
        assert "Traceback" not in err, err
        self.calls.append((state, process.returncode))
        self.said = out + err
        return process.returncode

    def ask(self, state: str) -> str:
        assert self.call(state) == 0, self.said
        assert self.said.count("\n") <= 1, "an answer is one line"
        return self.said.strip()

    def update(self, *, refused: bool = False) -> str:
        """All states in the order of a client; `refused` is a failure after the installation.  Returns the outcome."""
        assert self.call("Download") == 0, self.said
        can_roll_back = self.ask("SupportsRollback") == "Yes"
        assert self.ask("NeedsArtifactReboot") == "No"
        problem = ""
        if self.call("ArtifactInstall"):
            problem = self.said
        elif not refused and self.call("ArtifactCommit") == 0:
            assert self.call("Cleanup") == 0, self.said
            return "success"
        problem = problem or self.said
        self.recover(can_roll_back=can_roll_back)
        self.said = problem
        return "rolled back" if can_roll_back else "failed"

    def recover(self, *, can_roll_back: bool = True) -> None:
        """What a client does after a failure, and after a loss of power during an installation."""
        for state in (*(("ArtifactRollback",) if can_roll_back else ()), "ArtifactFailure", "Cleanup"):
            assert self.call(state) == 0, f"{state}: {self.said}"


def bring(work: Path, name: str, files: Mapping[str, bytes], meta_data: Any = None) -> None:
    """The tree as it is after the download, with the files stored by the client."""
    for folder in ("files", "header", "tmp", "streams"):
        (work / folder).mkdir(parents=True, exist_ok=True)
    (work / "version").write_text("3\n")
    (work / "current_artifact_name").write_text("old\n")
    (work / "current_artifact_group").write_text("\n")
    (work / "current_device_type").write_text("qemu-board\n")
    (work / "header" / "artifact_name").write_text("new")
    (work / "header" / "artifact_group").write_text("")
    (work / "header" / "payload_type").write_text(name)
    (work / "header" / "header-info").write_text("{}")
    (work / "header" / "type-info").write_text(json.dumps({"type": name}))
    (work / "header" / "meta-data").write_text("" if meta_data is None else json.dumps(meta_data))
    for file, content in files.items():
        path = work / "files" / file
        path.write_bytes(content)
        path.chmod(0o600)


def snapshot(folder: Path) -> Snapshot:
    """Everything below, by its path: kind, mode, and content or target.  Times of files count, of directories not."""
    found: Snapshot = {}
    for path in sorted(folder.rglob("*")):
        state, name = path.lstat(), str(path.relative_to(folder))
        mode = stat.S_IMODE(state.st_mode)
        if path.is_symlink():
            found[name] = ("link", 0, str(path.readlink()))
        elif path.is_dir():
            found[name] = ("directory", mode, None)
        else:
            found[name] = ("file", mode, (path.read_bytes(), state.st_mtime_ns, state.st_uid, state.st_gid))
    return found


def mounted(command: str) -> list[str]:
    """A prefix of a call that sees other mounts, made by `command`."""
    if subprocess.run([*USER, "true"], capture_output=True).returncode:
        pytest.skip("this machine lets nobody make a mount name space")
    return [*USER, "sh", "-c", f'{command} && exec "$@"', "sh"]
