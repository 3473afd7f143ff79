# SPDX-License-Identifier: Apache-2.0
"""A tar archive as a tree on disk: complete and durable, or an error.

Modes, owners and times are kept, links too, wherever a symbolic link points.  What would be written outside of the
tree is refused, also by way of a link, and so is whatever is neither file, directory nor link.  Owners are taken by
name where the device knows the name, as tar does.
"""

from __future__ import annotations

import grp
import os
import pwd
import tarfile
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

from updater.modules.durable import CHUNK, Attributes, Disk, exists
from updater.modules.problems import ModuleError


def unpack(disk: Disk, archive: Path, tree: Path, top: Attributes, reserved: Path) -> None:
    """Fill the directory `tree`; it gets the attributes `top` unless the archive speaks of it.

    `reserved` is the one thing in it already, which the archive must not bring.

    Raises:
        ModuleError: the archive is damaged or has something that is not taken.
        OSError: no room, or not permitted.
    """
    try:
        with tarfile.open(archive, "r:*") as tar:
            unpacking = _Unpacking(disk, tar, tree, top, reserved)
            for member in tar:
                unpacking.take(member)
            # The end is two blocks of zeros, of which one has been read.  Without them tarfile does not complain.
            if tar.fileobj is None or tar.fileobj.read(tarfile.BLOCKSIZE) != bytes(tarfile.BLOCKSIZE):
                raise ModuleError(f"{archive.name} is damaged, or its end is missing.")
            while tar.fileobj.read(CHUNK):  # a compressed one has a checksum at its end
                pass
    except Exception as error:
        if _is_damage(error):
            said = str(error).partition("\n")[0].rstrip(":.")  # tarfile lists all kinds of archive that it is not
            raise ModuleError(f"{archive.name} is not a whole tar archive: {said}.") from error
        raise
    unpacking.finish()


def _is_damage(error: Exception) -> bool:
    if isinstance(error, OSError):
        return error.errno is None  # gzip's own; the system's have a number
    # lzma and zlib need not be on the device, so their errors are known by name.
    return isinstance(error, tarfile.TarError | EOFError) or type(error).__qualname__ in ("LZMAError", "error")


class _Unpacking:
    def __init__(self, disk: Disk, tar: tarfile.TarFile, tree: Path, top: Attributes, reserved: Path) -> None:
        self._disk = disk
        self._tar = tar
        self._tree = tree
        self._reserved = reserved
        self._directories: dict[Path, Attributes] = {tree: top}
        self._files: dict[Path, None] = {}

    def take(self, member: tarfile.TarInfo) -> None:
        path = self._place(member.name)
        if path == self._reserved:
            raise ModuleError(f"'{member.name}' in the archive is a name of the module's own.")
        if member.isdir():
            self._directory(path)
            self._directories[path] = _attributes(member)
            return
        if path == self._tree or path in self._directories:
            raise ModuleError(f"The archive has a directory '{member.name}' and something else of that name.")
        self._directory(path.parent)
        if exists(path):  # of two, the later counts
            self._files.pop(path, None)
            self._disk.unlink(path)
        if member.issym():
            self._disk.symlink(member.linkname, path)
        elif member.islnk():
            self._disk.link(self._linked(member), path)
            self._files[path] = None
        elif member.isreg():
            self._file(member, path)
        else:
            raise ModuleError(f"'{member.name}' in the archive is neither file, directory nor link.")

    def finish(self) -> None:
        """Directories last, innermost first: a directory may forbid to write into it."""
        for path in self._files:
            self._disk.fsync(path)
        for path in sorted(self._directories, key=lambda one: len(one.parts), reverse=True):
            self._disk.set_attributes(path, self._directories[path])
            self._disk.fsync(path)

    def _file(self, member: tarfile.TarInfo, path: Path) -> None:
        content = self._tar.extractfile(member)
        if content is None:
            raise ModuleError(f"'{member.name}' in the archive has no content.")
        with content:
            self._disk.create(path, content)
        self._disk.set_attributes(path, _attributes(member))
        self._files[path] = None

    def _directory(self, path: Path) -> None:
        """And those above it.  None of them may be a link: it could lead out of the tree."""
        if path in self._directories:
            return
        self._directory(path.parent)
        if exists(path):
            raise ModuleError(f"'{path.relative_to(self._tree)}' in the archive is a directory and something else.")
        self._disk.mkdir(path)
        self._directories[path] = Attributes(0o755)

    def _place(self, name: str) -> Path:
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if name.startswith("/") or ".." in parts:
            raise ModuleError(f"'{name}' in the archive lies outside of the directory.")
        return self._tree.joinpath(*parts)

    def _linked(self, member: tarfile.TarInfo) -> Path:
        target = self._place(member.linkname)
        if target not in self._files:
            raise ModuleError(f"'{member.name}' in the archive is a link to '{member.linkname}', no file in it.")
        return target


def _attributes(member: tarfile.TarInfo) -> Attributes:
    wanted = Attributes(member.mode & 0o7777, mtime_ns=int(member.mtime * 1_000_000_000))
    if os.geteuid() != 0:  # nobody else may give files away
        return wanted
    return replace(wanted, uid=_uid(member.uname, member.uid), gid=_gid(member.gname, member.gid))


@cache
def _uid(name: str, number: int) -> int:
    return _known(lambda: pwd.getpwnam(name).pw_uid, name, number)


@cache
def _gid(name: str, number: int) -> int:
    return _known(lambda: grp.getgrnam(name).gr_gid, name, number)


def _known(look_up: Callable[[], int], name: str, number: int) -> int:
    try:
        return look_up() if name else number
    except KeyError:
        return number
