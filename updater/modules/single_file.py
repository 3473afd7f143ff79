# SPDX-License-Identifier: Apache-2.0
"""The module `single-file`: one file, put in place whole.

Payload: the file; `dest_dir`, an absolute path; `filename`, its name there and in the payload; `permissions`, octal
digits (without it the file keeps the mode the client stored it with).  As with Mender's module the file belongs to
whoever runs the client, and a link of that name is replaced, not followed.

`tmp/former` holds the former content, the record its owner, mode, times and extended attributes.
"""

from __future__ import annotations

import filecmp
import re
import stat
import sys
from collections.abc import Sequence
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
    remove_directories,
    remove_file,
    write_whole,
)
from updater.modules.journal import Facts, Journal, journalled
from updater.modules.problems import ModuleError
from updater.modules.protocol import Module
from updater.modules.workdir import Workdir

OURS = frozenset({"dest_dir", "filename", "permissions"})


def install(disk: Disk, work: Workdir) -> None:
    name = _filename(work)
    source, path, mode = work.files / name, work.destination() / name, _mode(work)
    if not source.is_file():
        raise ModuleError(f"The artifact has no file '{name}', which its file 'filename' speaks of.")
    if mode is None:
        mode = stat.S_IMODE(source.stat().st_mode)
    journal = Journal(disk, work)
    journal.roll_back(partial(restore, disk, work))  # a client begins once; whoever begins twice starts from the old
    facts = _keep(disk, work, path)
    journal.begin(facts)
    make_directories(disk, [Path(one) for one in facts["made"]])
    with source.open("rb") as content:
        write_whole(disk, path, content, Attributes(mode), _scratch(path))


def restore(disk: Disk, work: Workdir, facts: Facts) -> None:
    """The former file, or none if there was none.  What is unchanged is not written: there may be no way to."""
    path = Path(facts["path"])
    if path.parent.is_dir():
        remove_file(disk, _scratch(path))
        if facts["kind"] == "link":
            _restore_link(disk, path, facts["target"])
        elif facts["kind"] == "file":
            _restore_file(disk, path, _former(work), Attributes.of_facts(facts["attributes"]))
        elif exists(path):
            disk.unlink(path)
        disk.fsync(path.parent)  # also of what an earlier call may have left in memory
    elif facts["kind"] != "none":
        raise ModuleError(f"{path} cannot be brought back: its directory is gone.")
    remove_directories(disk, [Path(one) for one in facts["made"]])


def sweep(disk: Disk, facts: Facts) -> None:
    remove_file(disk, _scratch(Path(facts["path"])))


def _keep(disk: Disk, work: Workdir, path: Path) -> Facts:
    """A durable copy of what is there now, and all that is needed to bring it back."""
    made = [str(one) for one in missing_directories(path.parent)]
    facts: Facts = {"path": str(path), "kind": "none", "made": made}
    if path.is_symlink():
        return {**facts, "kind": "link", "target": str(path.readlink())}
    if not exists(path):
        return facts
    if not path.is_file():
        raise ModuleError(f"{path} is there already and is not a file.")
    former = _former(work)
    make_directories(disk, missing_directories(former.parent))
    with path.open("rb") as content:
        write_whole(disk, former, content, Attributes(0o600), former.with_name("former.new"))
    return {**facts, "kind": "file", "attributes": attributes(path).as_facts()}


def _restore_file(disk: Disk, path: Path, former: Path, wanted: Attributes) -> None:
    if not former.is_file():
        raise ModuleError(f"{path} cannot be brought back: its former content is gone.")
    unchanged = (
        path.is_file()
        and not path.is_symlink()
        and attributes(path) == wanted
        and filecmp.cmp(path, former, shallow=False)
    )
    if not unchanged:
        with former.open("rb") as content:
            write_whole(disk, path, content, wanted, _scratch(path))


def _restore_link(disk: Disk, path: Path, target: str) -> None:
    if path.is_symlink() and str(path.readlink()) == target:
        return
    scratch = _scratch(path)
    disk.symlink(target, scratch)
    disk.rename(scratch, path)


def _filename(work: Workdir) -> str:
    name = work.text("filename")
    if "/" in name or name in (".", ".."):
        raise ModuleError(f"filename is '{name}', which is not the name of a file.")
    if name in OURS:
        raise ModuleError(f"filename is '{name}', which is a file of the module's own.")
    return name


def _mode(work: Workdir) -> int | None:
    if not exists(work.files / "permissions"):
        return None
    said = work.text("permissions").strip()
    if not re.fullmatch(r"[0-7]{1,5}", said) or int(said, 8) > 0o7777:
        raise ModuleError(f"permissions is '{said}', which is no mode in octal digits.")
    return int(said, 8)


def _former(work: Workdir) -> Path:
    return work.tmp / "former"


def _scratch(path: Path) -> Path:
    return beside(path, "new")


def module(disk: Disk) -> Module:
    return journalled("single-file", disk, partial(install, disk), partial(restore, disk), partial(sweep, disk))


def main(argv: Sequence[str] | None = None) -> int:
    return module(Disk()).run(sys.argv[1:] if argv is None else argv)
