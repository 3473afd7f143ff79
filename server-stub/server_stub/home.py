# SPDX-License-Identifier: Apache-2.0
"""The server's directory: where each thing lies, made at first use and readable by its owner alone.

Refuses a second server on the same directory: two of them would tidy away each other's uploads.
"""

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from server_stub.errors import BadInput, HostProblem


@dataclass(frozen=True, slots=True)
class Home:
    root: Path

    @property
    def artifacts(self) -> Path:
        return self.root / "artifacts"

    @property
    def tls(self) -> Path:
        return self.root / "tls"

    @property
    def address(self) -> Path:
        """Where the server that runs on this directory is, for commands beside it."""
        return self.root / "address.json"

    def former_secret(self) -> bytes | None:
        """The key of the first servers, which kept it in a file."""
        try:
            return (self.root / "secret").read_bytes()
        except FileNotFoundError:
            return None

    def write_address(self, url: str, ca: Path | None, pid: int) -> None:
        told = {"url": url, "ca": str(ca) if ca else None, "pid": pid}
        write_private(self.address, json.dumps(told).encode())


def open_home(root: Path) -> Home:
    home = Home(root.absolute())
    try:
        for folder in (home.root, home.artifacts, home.tls):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    except (FileExistsError, NotADirectoryError):
        raise BadInput(f"{root} is not a directory: choose another with --dir.") from None
    except OSError as problem:
        raise HostProblem(
            f"{root} cannot be used ({problem.strerror}): choose a directory you may write with --dir."
        ) from None
    if not os.access(home.root, os.W_OK | os.X_OK):
        raise HostProblem(f"{root} is not writable: choose a directory you may write with --dir.")
    return home


@contextmanager
def claim(home: Home) -> Iterator[None]:
    """Hold the directory for one server; the kernel lets go of it however the process ends."""
    with (home.root / "lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise HostProblem(
                f"Another server is running on {home.root}: stop it, or start this one with another --dir."
            ) from None
        yield


def write_private(path: Path, content: bytes) -> None:
    """Whole or not at all, and never readable by others, not even for a moment. Raises HostProblem."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.unlink(missing_ok=True)
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    except OSError as problem:
        draft.unlink(missing_ok=True)
        raise HostProblem(
            f"{path} cannot be written ({problem.strerror}): make room, or choose another directory with --dir."
        ) from None
