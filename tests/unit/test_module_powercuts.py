# SPDX-License-Identifier: Apache-2.0
"""The modules that change files, cut at every single change, and again at every change of the recovery.

Whatever was lost, the client's recovery ends with the old content or with the new, whole, and with nothing beside it.
"""

import io
import itertools
import os
import shutil
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.unit.module_client import Snapshot, snapshot
from tests.unit.module_disk import CutDisk, FullDisk, Loses, PowerCut
from updater.modules import directory, single_file
from updater.modules.durable import Disk
from updater.modules.protocol import Module

RECOVERY = ("ArtifactRollback", "ArtifactFailure", "Cleanup")
UPDATE = ("Download", "ArtifactInstall", "ArtifactCommit", "Cleanup")
REFUSED = ("Download", "ArtifactInstall", *RECOVERY)


def archive() -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        for name, content in (("./sub/a", b"new a"), ("./b", b"new b" * 100)):
            member = tarfile.TarInfo(name)
            member.size, member.mtime, member.mode = len(content), 1_000_000, 0o640
            tar.addfile(member, io.BytesIO(content))
        link = tarfile.TarInfo("./link")
        link.type, link.linkname = tarfile.SYMTYPE, "b"
        tar.addfile(link)
    return raw.getvalue()


ARCHIVE = archive()


@dataclass
class World:
    """A place with what was there before, and a working directory."""

    folder: Path
    kind: str
    exchanges: bool = True

    def __post_init__(self) -> None:
        shutil.rmtree(self.folder, ignore_errors=True)
        self.place, self.work = self.folder / "place", self.folder / "work"
        (self.place / "etc").mkdir(parents=True)
        (self.place / "etc" / "other").write_text("not ours")
        self.number = 0
        module, _, before = self.kind.partition(": ")
        self.target = self.place / "etc" / "app" if before != "nothing" else self.place / "a" / "b" / "app"
        self.module: Callable[[Disk], Module] = single_file.module
        if module == "directory":
            self.module = directory.module
            files = {"update.tar": ARCHIVE, "dest_dir": str(self.target).encode()}
        else:
            files = {"app": b"new", "dest_dir": str(self.target.parent).encode()}
            files |= {"filename": b"app", "permissions": b"751\n"}
        for folder in ("files", "tmp"):
            (self.work / folder).mkdir(parents=True)
        for name, content in files.items():
            (self.work / "files" / name).write_bytes(content)
        if before == "tree":
            (self.target / "sub" / "deep").mkdir(parents=True)
            (self.target / "sub" / "deep" / "c").write_text("old c")
            (self.target / "b").write_text("old b")
            self.target.chmod(0o750)
        elif before == "file":
            self.target.write_text("old")
            self.target.chmod(0o4711)
        elif before == "link":
            self.target.symlink_to("other")
        for path in self.place.rglob("*"):
            if path.is_file() and not path.is_symlink():
                os.utime(path, (1_700_000_000, 1_700_000_000))

    def seen(self) -> Snapshot:
        found = snapshot(self.place)
        # What the module writes carries the time of writing; the former files have to have their own.
        name = str(self.target.relative_to(self.place))
        if name in found and found[name][0] == "file" and found[name][2][0] == b"new":
            found[name] = (*found[name][:2], found[name][2][0])
        return found

    def run(self, states: tuple[str, ...], cut_at: int | None, loses: Loses) -> tuple[list[str], str]:
        """The changes that were made, and the state in which the power failed, if it did."""
        self.number += 1
        disk = CutDisk(self.folder / f"limbo-{self.number}", cut_at, loses, exchanges=self.exchanges)
        try:
            for state in states:
                assert self.module(disk).run([state, str(self.work)]) == 0, state
        except PowerCut:
            return disk.steps, state
        finally:
            disk.close()
        return disk.steps, ""


def again(state: str) -> tuple[str, ...]:
    """How a client goes on after the power failed in this state."""
    return ("Cleanup",) if state == "Cleanup" else RECOVERY


def allowed(state: str, states: tuple[str, ...], old: Snapshot, new: Snapshot) -> Snapshot:
    return new if state in ("", "Cleanup") and "ArtifactCommit" in states else old


KINDS = ["single-file: file", "single-file: link", "single-file: nothing", "directory: tree", "directory: nothing"]
CASES = [
    *((kind, True, states) for kind in KINDS for states in (UPDATE, REFUSED)),
    ("directory: tree", False, UPDATE),
    ("directory: tree", False, REFUSED),
]


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    yield tmp_path / "world"
    shutil.rmtree(tmp_path, ignore_errors=True)  # thousands of small files


def outcomes(folder: Path, kind: str) -> tuple[Snapshot, Snapshot]:
    world = World(folder, kind)
    old = world.seen()
    assert world.run(UPDATE, None, Loses.NOTHING)[1] == ""
    new = world.seen()
    assert old != new
    assert not [name for name in new if "bootproof" in name]
    return old, new


@pytest.mark.parametrize("loses", list(Loses), ids=lambda one: one.value)
@pytest.mark.parametrize(("kind", "exchanges", "states"), CASES)
def test_two_cuts(folder: Path, kind: str, exchanges: bool, states: tuple[str, ...], loses: Loses) -> None:
    old, new = outcomes(folder, kind)
    cuts = 0
    for first in itertools.count():
        second: int | None = 0
        while second is not None:
            world = World(folder, kind, exchanges)
            steps, state = world.run(states, first, loses)
            where = f"cut before change {first} in {state or 'no state'}, after {steps[-3:]}"
            # Up to the rollback a refused update is like any other.
            known = states == REFUSED and state in UPDATE[:2]
            if state and not known:
                cuts += 1
                steps, cut = world.run(again(state), second, loses)
                where += f"; again before change {second} in {cut or 'no state'}, after {steps[-3:]}"
                if cut:
                    assert world.run(again(cut), None, loses)[1] == ""
            if not known:
                assert world.seen() == allowed(state, states, old, new), where
            second = second + 1 if state and not known and cut else None
        if not state:
            break
    assert cuts > 10, "there was something to be cut"


@pytest.mark.parametrize("loses", list(Loses), ids=lambda one: one.value)
@pytest.mark.parametrize("kind", KINDS)
def test_whoever_looks_before_the_recovery_sees_one_or_the_other(folder: Path, kind: str, loses: Loses) -> None:
    """Programs of the device may start before the client has recovered."""
    old, new = outcomes(folder, kind)

    def target(seen: Snapshot) -> Snapshot:
        name = str(world.target.relative_to(world.place))
        return {
            path: entry
            for path, entry in seen.items()
            if (path == name or path.startswith(f"{name}/")) and not path.endswith(directory.WITNESS)
        }

    seen_new = False
    for states in (UPDATE, REFUSED):
        for cut_at in itertools.count():
            world = World(folder, kind)
            state = world.run(states, cut_at, loses)[1]
            seen = target(world.seen())
            assert seen in (target(old), target(new)), f"cut before change {cut_at} in {state}"
            seen_new = seen_new or seen == target(new)
            if not state:
                break
    assert seen_new


@pytest.mark.parametrize("once", [True, False])
@pytest.mark.parametrize(("kind", "exchanges"), [*((kind, True) for kind in KINDS), ("directory: tree", False)])
def test_no_room_at_any_moment(
    folder: Path, kind: str, exchanges: bool, once: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    old, new = outcomes(folder, kind)
    refusals = 0
    for full_at in itertools.count():
        world, disk = World(folder, kind, exchanges), FullDisk(full_at, once=once)
        failed = world.module(disk).run(["ArtifactInstall", str(world.work)]) != 0
        assert failed == disk.refused
        said = capsys.readouterr().err
        if failed:
            refusals += 1
            assert "There is no room left for" in said
            assert said.count("\n") == 1
        for state in (
            RECOVERY if failed else ("ArtifactCommit", "Cleanup")
        ):  # going back has to do with what room there is
            assert world.module(disk if failed else Disk()).run([state, str(world.work)]) == 0, state
        assert world.seen() == (old if failed else new)
        if not failed:
            break
    assert refusals >= 2, "the record and the content"


def test_a_directory_goes_back_without_room(folder: Path) -> None:
    old, _ = outcomes(folder, "directory: tree")
    world = World(folder, "directory: tree")
    assert world.module(Disk()).run(["ArtifactInstall", str(world.work)]) == 0
    assert world.module(FullDisk(0)).run(["ArtifactCommit", str(world.work)]) == 1
    for state in RECOVERY:
        assert world.module(FullDisk(0)).run([state, str(world.work)]) == 0
    assert world.seen() == old


@pytest.mark.parametrize("kind", KINDS)
def test_a_cut_that_would_do_harm_is_seen(folder: Path, kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """The tests above can fail: without flushes they do."""
    monkeypatch.setattr(CutDisk, "fsync", lambda _self, _path: None)

    def all_of_them() -> None:
        for loses in (Loses.CONTENT, Loses.EVERYTHING, Loses.LATER_HALF):
            test_two_cuts(folder, kind, True, UPDATE, loses)

    with pytest.raises((AssertionError, FileNotFoundError)):
        all_of_them()
