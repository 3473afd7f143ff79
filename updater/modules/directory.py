# SPDX-License-Identifier: Apache-2.0
"""The module `directory`: a whole directory is replaced by the tree of an archive.

Payload: `dest_dir`, an absolute path, and one file of any other name: a tar of the tree, plain, gzip or xz.

The new tree is made beside the destination, complete and durable, then the two change names.  The former tree is kept
there until the client cleans up.  Names used beside a destination `d`: `.d.bootproof-tmp`, worth nothing at any time;
`.d.bootproof-new`, complete; `.d.bootproof-old`, the former tree.  An exchange of names can be seen only by what the
names stand for, so the new tree carries an empty file, `.bootproof-new`, until it has its place: a tree with it is
never the former one.
"""

from __future__ import annotations

import io
import os
import sys
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path

from updater.modules.durable import (
    Attributes,
    Disk,
    attributes,
    beside,
    exists,
    make_directories,
    missing_directories,
    mounts_below,
    remove_directories,
    remove_file,
    remove_tree,
)
from updater.modules.journal import Facts, Journal, journalled
from updater.modules.problems import ModuleError
from updater.modules.protocol import Module
from updater.modules.unpack import unpack
from updater.modules.workdir import Workdir

WITNESS = ".bootproof-new"


def install(disk: Disk, work: Workdir) -> None:
    path, archive = work.destination(), _archive(work)
    _check(path, work)
    journal = Journal(disk, work)
    journal.roll_back(partial(restore, disk))  # a client begins once; whoever begins twice starts from the old
    _forget(disk, path)
    existed = exists(path)
    made = [str(one) for one in missing_directories(path.parent)]
    journal.begin({"path": str(path), "existed": existed, "made": made})
    make_directories(disk, [Path(one) for one in made])
    _stage(disk, archive, path)
    if existed:
        _swap(disk, _new(path), path, _old(path))
    else:
        disk.rename(_new(path), path)
        disk.fsync(path.parent)
    disk.unlink(path / WITNESS)
    disk.fsync(path)


def restore(disk: Disk, facts: Facts) -> None:
    """The former directory, or none if there was none, and nothing beside it."""
    path = Path(facts["path"])
    if path.parent.is_dir():
        remove_tree(disk, _tmp(path))
        if facts["existed"]:
            _bring_back(disk, path)
        elif exists(path):
            disk.rename(path, _tmp(path))
        disk.fsync(path.parent)
        sweep(disk, facts)
    elif facts["existed"]:
        raise ModuleError(f"{path} cannot be brought back: the directory above it is gone.")
    remove_directories(disk, [Path(one) for one in facts["made"]])


def sweep(disk: Disk, facts: Facts) -> None:
    """Everything beside the destination goes.  First its name: of half a tree nobody could tell which it was."""
    path = Path(facts["path"])
    remove_tree(disk, _tmp(path))
    for tree in (_new(path), _old(path)):
        if exists(tree):
            disk.rename(tree, _tmp(path))
            disk.fsync(path.parent)
            remove_tree(disk, _tmp(path))


def _stage(disk: Disk, archive: Path, path: Path) -> None:
    """The new tree, whole, under a name that nothing but a whole tree ever has."""
    tmp = _tmp(path)
    top = attributes(path) if exists(path) else Attributes(0o755)
    disk.mkdir(tmp)
    disk.create(tmp / WITNESS, io.BytesIO())
    unpack(disk, archive, tmp, top, tmp / WITNESS)
    disk.rename(tmp, _new(path))
    disk.fsync(path.parent)


def _swap(disk: Disk, incoming: Path, path: Path, outgoing: Path, *, at_once: bool = True) -> None:
    """What `incoming` names becomes `path`; what `path` named becomes `outgoing`, which is free.

    Where two names cannot be exchanged at once, there is a moment in which `path` is nothing; `restore` ends it.
    The flush in between is for file systems that do not keep changes of names in their order.
    """
    if at_once and disk.exchange(incoming, path):
        disk.fsync(path.parent)
        disk.rename(incoming, outgoing)
    else:
        disk.rename(path, outgoing)
        disk.fsync(path.parent)
        disk.rename(incoming, path)
    disk.fsync(path.parent)


def _bring_back(disk: Disk, path: Path) -> None:
    former = _former(path)
    if former is None:
        raise ModuleError(f"{path} cannot be brought back: its former content is gone.")
    if former == path:
        return
    if exists(path):
        _swap(disk, former, path, _tmp(path), at_once=_can_be_told(disk, path))
    else:
        disk.rename(former, path)


def _former(path: Path) -> Path | None:
    """Where the former tree is: first under its own name, as the new one loses its witness at the end."""
    for tree in (_old(path), _new(path), path):
        if tree.is_dir() and not exists(tree / WITNESS):
            return tree
    return None


def _can_be_told(disk: Disk, path: Path) -> bool:
    """Give the new tree its witness again, so that it may be exchanged.  There may be no room left for that."""
    with suppress(OSError):
        if not exists(path / WITNESS):
            disk.create(path / WITNESS, io.BytesIO())
            disk.fsync(path)
        return True
    return False


def _forget(disk: Disk, path: Path) -> None:
    """What an update has left here whose record is gone, with its client's working directory."""
    if not path.parent.is_dir():
        return
    former = _former(path)
    if not exists(path) and former is not None:
        disk.rename(former, path)
        disk.fsync(path.parent)
    if path.is_dir():
        remove_file(disk, path / WITNESS)
    sweep(disk, {"path": str(path)})


def _check(path: Path, work: Workdir) -> None:
    if path == Path("/"):
        raise ModuleError("dest_dir is '/', and the whole system cannot be replaced this way.")
    if exists(path) and not path.is_dir():
        raise ModuleError(f"{path} is there already and is not a directory.")
    if os.path.ismount(path):
        raise ModuleError(f"{path} is a mount point, which cannot change its name: use a directory in it.")
    mounted = mounts_below(Path(os.path.realpath(path)))
    if mounted:
        raise ModuleError(f"{mounted[0]} is mounted in {path}, and would be emptied with it: unmount it first.")
    if Path(os.path.realpath(work.root)).is_relative_to(path):
        raise ModuleError(f"{path} cannot be replaced: the updater works in it.")


def _archive(work: Workdir) -> Path:
    found = work.payload(without={"dest_dir"})
    if len(found) != 1:
        names = ", ".join(path.name for path in found) or "none"
        raise ModuleError(f"The artifact should have one archive beside 'dest_dir'; it has {names}.")
    return found[0]


def _tmp(path: Path) -> Path:
    return beside(path, "tmp")


def _new(path: Path) -> Path:
    return beside(path, "new")


def _old(path: Path) -> Path:
    return beside(path, "old")


def module(disk: Disk) -> Module:
    return journalled(
        "directory", disk, partial(install, disk), lambda _, facts: restore(disk, facts), partial(sweep, disk)
    )


def main(argv: Sequence[str] | None = None) -> int:
    return module(Disk()).run(sys.argv[1:] if argv is None else argv)
