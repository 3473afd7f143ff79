# SPDX-License-Identifier: Apache-2.0
"""A file system whose power fails, or whose room ends, at a chosen change.

What was changed but not flushed when the power fails may be gone or may be there.  Four ways of that are known here;
a name belongs to its directory, content and attributes to the file.
"""

import enum
import errno
import os
import shutil
from collections.abc import Callable
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from updater.modules.durable import Attributes, Disk, attributes


class PowerCut(BaseException):
    """Nothing in the module may run any more."""


class Loses(enum.Enum):
    """What of the changes that were not flushed is gone."""

    NOTHING = "nothing"
    CONTENT = "content"  # names are there, files are half empty
    LATER_HALF = "the later half"
    EVERYTHING = "everything"


@dataclass
class Pending:
    """A change that is not durable yet: whom a flush must be of, and how it is undone."""

    inode: tuple[int, int]
    content: bool
    undo: Callable[[], object]


class CutDisk(Disk):
    """Every change is done; before change number `cut_at` the power fails."""

    def __init__(self, limbo: Path, cut_at: int | None, loses: Loses, *, exchanges: bool = True) -> None:
        self.steps: list[str] = []
        self._cut_at = cut_at
        self._loses = loses
        self._exchanges = exchanges
        self._pending: list[Pending] = []
        self._limbo = limbo  # where removed files wait for being undone
        self._stack = ExitStack()
        limbo.mkdir(exist_ok=True)

    def close(self) -> None:
        self._stack.close()

    # -- changes -------------------------------------------------------------------------------------------------------

    def mkdir(self, path: Path) -> None:
        self._step("mkdir", path)
        super().mkdir(path)
        self._named(path, lambda name: shutil.rmtree(name))

    def create(self, path: Path, content: IO[bytes]) -> None:
        self._step("create", path)
        super().create(path, content)
        self._named(path, lambda name: name.unlink())
        fd = self._open(path, os.O_RDWR)
        self._pending.append(Pending(_inode(path), True, lambda: os.ftruncate(fd, os.fstat(fd).st_size // 2)))

    def set_attributes(self, path: Path, wanted: Attributes) -> None:
        self._step("set_attributes", path)
        former, name = attributes(path), self._by_descriptor(path)
        super().set_attributes(path, wanted)
        undo = super().set_attributes
        self._pending.append(Pending(_inode(path), False, lambda: undo(name, former)))

    def fsync(self, path: Path) -> None:
        self._step("fsync", path)
        flushed = _inode(path)
        self._pending = [one for one in self._pending if one.inode != flushed]

    def rename(self, source: Path, target: Path) -> None:
        self._step("rename", target)
        assert source.parent == target.parent, "this disk knows no other renames"
        replaced = self._set_apart(target) if os.path.lexists(target) and not target.is_dir() else None
        super().rename(source, target)
        former = self._by_descriptor(source.parent) / source.name

        def undo(name: Path) -> None:
            name.rename(former)
            if replaced:
                os.link(replaced, name, follow_symlinks=False)

        self._named(target, undo)

    def exchange(self, one: Path, other: Path) -> bool:
        self._step("exchange", other)
        if not self._exchanges:
            return False
        assert super().exchange(one, other)
        exchange, again = super().exchange, self._by_descriptor(one.parent) / one.name
        self._named(other, lambda name: exchange(again, name))
        return True

    def symlink(self, target: str, path: Path) -> None:
        self._step("symlink", path)
        super().symlink(target, path)
        self._named(path, lambda name: name.unlink())

    def link(self, source: Path, path: Path) -> None:
        self._step("link", path)
        super().link(source, path)
        self._named(path, lambda name: name.unlink())

    def unlink(self, path: Path) -> None:
        self._step("unlink", path)
        kept = self._set_apart(path)
        super().unlink(path)
        self._named(path, lambda name: os.link(kept, name, follow_symlinks=False))

    def rmdir(self, path: Path) -> None:
        self._step("rmdir", path)
        mode = path.stat().st_mode
        super().rmdir(path)
        self._named(path, lambda name: name.mkdir(mode))

    # -- the cut -------------------------------------------------------------------------------------------------------

    def _step(self, what: str, path: Path) -> None:
        if len(self.steps) == self._cut_at:
            self._lose()
            raise PowerCut
        self.steps.append(f"{what} {path.name}")

    def _lose(self) -> None:
        gone = {
            Loses.NOTHING: [],
            Loses.CONTENT: [one for one in self._pending if one.content],
            Loses.LATER_HALF: self._pending[len(self._pending) // 2 :],
            Loses.EVERYTHING: self._pending,
        }[self._loses]
        for one in reversed(gone):
            with suppress(FileNotFoundError):  # its directory has gone before
                one.undo()

    def _named(self, path: Path, undo: Callable[[Path], object]) -> None:
        name = self._by_descriptor(path.parent) / path.name
        self._pending.append(Pending(_inode(path.parent), False, lambda: undo(name)))

    def _by_descriptor(self, path: Path) -> Path:
        """A path that stays good when a directory above gets another name."""
        return Path("/proc/self/fd", str(self._open(path, os.O_RDONLY)))

    def _open(self, path: Path, how: int) -> int:
        fd = os.open(path, how)
        self._stack.callback(os.close, fd)
        return fd

    def _set_apart(self, path: Path) -> Path:
        kept = self._limbo / str(len(list(self._limbo.iterdir())))
        os.link(path, kept, follow_symlinks=False)
        return kept


class FullDisk(Disk):
    """From change number `full_at` on nothing that takes room is done; `once`: only that change is refused."""

    def __init__(self, full_at: int, *, once: bool = False) -> None:
        self.steps = 0
        self.refused = False
        self._full_at = full_at
        self._once = once

    def _room(self, path: Path) -> None:
        self.steps += 1
        if self.steps > self._full_at and not (self._once and self.refused):
            self.refused = True
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    def mkdir(self, path: Path) -> None:
        self._room(path)
        super().mkdir(path)

    def create(self, path: Path, content: IO[bytes]) -> None:
        self._room(path)
        super().create(path, content)

    def symlink(self, target: str, path: Path) -> None:
        self._room(path)
        super().symlink(target, path)

    def link(self, source: Path, path: Path) -> None:
        self._room(path)
        super().link(source, path)

    def fsync(self, path: Path) -> None:
        pass  # a test does not need it


def _inode(path: Path) -> tuple[int, int]:
    found = path.lstat()
    return found.st_dev, found.st_ino
