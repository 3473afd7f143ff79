# SPDX-License-Identifier: Apache-2.0
"""A real PostgreSQL, from Debian's packages, on a socket of its own: databases for tests."""

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

PROGRAMS = Path("/usr/lib/postgresql")
OWNER = "postgres"


@dataclass(frozen=True)
class Cluster:
    """A running one. Its files and socket lie in `folder`; nothing listens on the network."""

    folder: Path

    def create(self, name: str, like: str = "template1") -> str:
        """An empty database, or a copy of one that nobody uses; its URL."""
        order = f'CREATE DATABASE "{name}" TEMPLATE "{like}"'
        self._run("psql", "-q", "-h", str(self.folder), "-U", OWNER, "-c", order, "postgres")
        return f"postgresql://{OWNER}@/{name}?host={self.folder}"

    def stop(self, how: str = "fast") -> None:
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-m", how, "-w", "stop")

    def start(self) -> None:
        # What is acknowledged is with the operating system, and outlives every end of a process. The power of this
        # machine is cut by no test.
        options = f"-k {self.folder} -c listen_addresses='' -c max_connections=200 -c fsync=off"
        log = str(self.folder / "log")
        self._run("pg_ctl", "-D", str(self.folder / "data"), "-l", log, "-o", options, "-w", "start")

    def _run(self, program: str, *words: str) -> None:
        command = [*_as_owner(), str(_programs() / program), *words]
        # Its own output goes to the log; what it inherits would otherwise stay open with the server.
        quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.PIPE}
        done = subprocess.run(command, **quiet, text=True, cwd="/", timeout=60)
        assert done.returncode == 0, done.stderr


@contextmanager
def cluster() -> Iterator[Cluster]:
    """A new cluster, gone afterwards."""
    # The path of a socket may have a hundred bytes: pytest's directories are too long.
    folder = Path(tempfile.mkdtemp(prefix="pg-"))
    try:
        if os.geteuid() == 0:
            owner = pwd.getpwnam(OWNER)
            os.chown(folder, owner.pw_uid, owner.pw_gid)
        made = Cluster(folder)
        made._run("initdb", "-D", str(folder / "data"), "-U", OWNER, "--auth=trust", "--no-sync", "-E", "UTF8")
        made.start()
        try:
            yield made
        finally:
            made.stop("immediate")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _programs() -> Path:
    versions = sorted(PROGRAMS.glob("*/bin"), key=lambda path: int(path.parent.name))
    assert versions, "PostgreSQL is not installed: run make setup-tests."
    return versions[-1]


def _as_owner() -> list[str]:
    """PostgreSQL refuses to run as root."""
    return ["runuser", "-u", OWNER, "--"] if os.geteuid() == 0 else []
