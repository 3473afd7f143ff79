# SPDX-License-Identifier: Apache-2.0
"""Changes to the file system, one at a time, and the few orders of them that a loss of power cannot break.

`Disk` is handed to whatever changes files, so that the power can be cut between any two of its calls in a test.
Nothing is durable until `fsync` has been called: for a file's content on the file, for a name on its directory.
"""

from __future__ import annotations

import ctypes
import errno
import functools
import hashlib
import io
import os
import re
import shutil
import stat
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import IO, Any

CHUNK = 1024 * 1024
AT_FDCWD, RENAME_EXCHANGE = -100, 2
NO_EXCHANGE = (errno.EINVAL, errno.ENOSYS, errno.ENOTSUP)
NO_ATTRIBUTES = (errno.ENOTSUP, errno.EPERM)


@dataclass(frozen=True)
class Attributes:
    """Whose a file or directory is and what may be done with it; what is None stays as it is."""

    mode: int
    uid: int | None = None
    gid: int | None = None
    mtime_ns: int | None = None
    extended: dict[str, bytes] = field(default_factory=dict)

    def as_facts(self) -> dict[str, Any]:
        """For a record in JSON, so that they do not depend on the file system of a backup."""
        return {**asdict(self), "extended": {name: value.hex() for name, value in self.extended.items()}}

    @classmethod
    def of_facts(cls, facts: dict[str, Any]) -> Attributes:
        extended = {name: bytes.fromhex(value) for name, value in facts["extended"].items()}
        return cls(**{**facts, "extended": extended})


class Disk:
    """The file system.  Every method is one change of it; OSError says what was refused."""

    def mkdir(self, path: Path) -> None:
        """For its owner only; `set_attributes` opens it."""
        path.mkdir(0o700)

    def create(self, path: Path, content: IO[bytes]) -> None:
        """A new file, for its owner only; never through a link, never over something."""
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
        with os.fdopen(fd, "wb") as file:
            try:
                shutil.copyfileobj(content, file, CHUNK)
                file.flush()
            except OSError as error:
                raise OSError(error.errno, error.strerror, str(path)) from error

    def set_attributes(self, path: Path, wanted: Attributes) -> None:
        found = path.stat()
        uid, gid = (found.st_uid, wanted.uid), (found.st_gid, wanted.gid)
        if any(want not in (None, have) for have, want in (uid, gid)):
            os.chown(path, *(have if want is None else want for have, want in (uid, gid)))
        for name, value in wanted.extended.items():
            try:
                os.setxattr(path, name, value)
            except OSError as error:
                if error.errno not in NO_ATTRIBUTES:
                    raise
        if stat.S_IMODE(path.stat().st_mode) != wanted.mode:  # a change of owner takes bits away
            path.chmod(wanted.mode)
        if wanted.mtime_ns is not None:
            os.utime(path, ns=(wanted.mtime_ns, wanted.mtime_ns))

    def fsync(self, path: Path) -> None:
        fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            os.fsync(fd)
        except OSError as error:
            if error.errno != errno.EINVAL:  # nothing to flush: a read-only kind of file system
                raise OSError(error.errno, error.strerror, str(path)) from error
        finally:
            os.close(fd)

    def rename(self, source: Path, target: Path) -> None:
        source.rename(target)

    def exchange(self, one: Path, other: Path) -> bool:
        """Both names at once, or False where this system or file system cannot."""
        call = _renameat2()
        if call is None:
            return False
        if call(AT_FDCWD, os.fsencode(one), AT_FDCWD, os.fsencode(other), RENAME_EXCHANGE) == 0:
            return True
        number = ctypes.get_errno()
        if number in NO_EXCHANGE:
            return False
        raise OSError(number, os.strerror(number), str(one), None, str(other))

    def symlink(self, target: str, path: Path) -> None:
        path.symlink_to(target)

    def link(self, source: Path, path: Path) -> None:
        os.link(source, path, follow_symlinks=False)

    def unlink(self, path: Path) -> None:
        path.unlink()

    def rmdir(self, path: Path) -> None:
        path.rmdir()


@functools.cache
def _renameat2() -> Callable[..., int] | None:
    call: Callable[..., int] | None = getattr(ctypes.CDLL(None, use_errno=True), "renameat2", None)
    return call


# -- what is there -----------------------------------------------------------------------------------------------------


def attributes(path: Path) -> Attributes:
    """Of a file or directory, to be given to another."""
    found, extended = path.stat(), {}
    with suppress(OSError):  # a file system without them
        extended = {name: os.getxattr(path, name) for name in os.listxattr(path)}
    return Attributes(stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid, found.st_mtime_ns, extended)


def exists(path: Path) -> bool:
    """Whether anything has this name, a link without a target included."""
    return os.path.lexists(path)


def beside(path: Path, what: str) -> Path:
    """The name of a helper of `path` in the same directory; the same in every run, so that a later one finds it."""
    name = path.name
    if len(os.fsencode(name)) > 200:  # a name may have 255 bytes
        name = hashlib.sha256(os.fsencode(name)).hexdigest()[:32]
    return path.with_name(f".{name}.bootproof-{what}")


def missing_directories(path: Path) -> list[Path]:
    """Which of a path's directories are still to be made, outermost first; `path` is one of them."""
    return [one for one in reversed([path, *path.parents]) if not exists(one)]


# -- orders of changes -------------------------------------------------------------------------------------------------


def make_directories(disk: Disk, missing: list[Path]) -> None:
    """Each durable before the next is put into it."""
    for path in missing:
        disk.mkdir(path)
        disk.set_attributes(path, Attributes(0o755))
        disk.fsync(path)
        disk.fsync(path.parent)


def remove_directories(disk: Disk, made: list[Path]) -> None:
    """Innermost first; what others have put something into stays."""
    for path in reversed(made):
        if not exists(path):  # a read-only file system refuses to remove even what is not there
            continue
        try:
            disk.rmdir(path)
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            return
        disk.fsync(path.parent)


def remove_file(disk: Disk, path: Path) -> None:
    """If it is there; durable."""
    if exists(path):
        disk.unlink(path)
        disk.fsync(path.parent)


def write_whole(disk: Disk, path: Path, content: IO[bytes], wanted: Attributes, scratch: Path) -> None:
    """`path` has its old content or the new one at every moment, and the new one durably at the end.

    `scratch` lies on the same file system; what is there is replaced.
    """
    remove_file(disk, scratch)
    disk.create(scratch, content)
    disk.set_attributes(scratch, wanted)
    disk.fsync(scratch)
    disk.rename(scratch, path)
    disk.fsync(path.parent)


def write_bytes(disk: Disk, path: Path, content: bytes) -> None:
    write_whole(disk, path, io.BytesIO(content), Attributes(0o600), path.with_name(path.name + ".new"))


def remove_tree(disk: Disk, tree: Path) -> None:
    """If it is there, piece by piece: whoever calls this must not mind if only a part of it is gone."""
    if not exists(tree):
        return
    for path in _deepest_first(tree):
        if path.is_symlink() or not path.is_dir():
            disk.unlink(path)
        else:
            disk.rmdir(path)
    disk.fsync(tree.parent)


def mounts_below(tree: Path, table: Path = Path("/proc/self/mountinfo")) -> list[Path]:
    """What is mounted below a directory (the fifth field of each line, blanks and the like as octal numbers)."""
    fields = [line.split()[4] for line in table.read_text(errors="surrogateescape").splitlines()]
    places = [Path(re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), field)) for field in fields]
    return [place for place in places if tree in place.parents]


def _deepest_first(tree: Path) -> Iterator[Path]:
    if tree.is_dir() and not tree.is_symlink():
        for child in sorted(tree.iterdir()):
            yield from _deepest_first(child)
    yield tree
