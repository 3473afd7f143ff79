# SPDX-License-Identifier: Apache-2.0
"""The module `directory`, as a program under a client."""

import io
import os
import signal
import stat
import tarfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests.unit.module_client import Client, mounted, snapshot

Members = list[tuple[tarfile.TarInfo, bytes]]


def member(name: str, content: bytes = b"", **more: Any) -> tuple[tarfile.TarInfo, bytes]:
    told = tarfile.TarInfo(name)
    told.size, told.mtime, told.mode = len(content), 1_600_000_000, 0o644
    if os.geteuid() != 0:
        told.uid, told.gid = os.getuid(), os.getgid()
    for key, value in more.items():
        setattr(told, key, value)
    return told, content


def folder(name: str, mode: int = 0o755) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, mode=mode)


def link(name: str, target: str, *, hard: bool = False) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE if hard else tarfile.SYMTYPE, linkname=target)


def pack(members: Members, mode: str = "w") -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode=mode) as tar:  # type: ignore[call-overload]
        for told, content in members:
            tar.addfile(told, io.BytesIO(content))
    return raw.getvalue()


GOOD: Members = [
    folder("./", 0o711),
    folder("./sub", 0o750),
    member("./sub/program", b"\x7fELF" * 1000, mode=0o4755),
    member("./sub/secret", b"s", mode=0o600),
    member("./empty", mode=0o640),
    link("./absolute", "/etc/nowhere"),
    link("./up", "../../x"),
    link("./same", "./sub/secret", hard=True),
    folder("./hollow", 0o1777),
]
Make = Callable[..., Client]


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where the destination `app` is, with something in it."""
    place = tmp_path / "place"
    (place / "app" / "old" / "deep").mkdir(parents=True)
    (place / "app" / "old" / "deep" / "file").write_text("old")
    (place / "app" / "link").symlink_to("old")
    (place / "app" / "locked").mkdir(0o700)
    (place / "app").chmod(0o2770)
    (place / "other").write_text("not ours")
    return place


@pytest.fixture
def make(place: Path) -> Make:
    def made(
        archive: bytes, *, to: str = "app", name: str = "update.tar", more: dict[str, bytes] | None = None
    ) -> Client:
        files = {"dest_dir": f"{place}/{to}\n".encode(), name: archive, **(more or {})}
        return Client("directory", place.parent / "work").bring(files)

    return made


@pytest.mark.parametrize(("mode", "name"), [("w", "update.tar"), ("w:gz", "tree.tgz"), ("w:xz", "of any name")])
def test_a_tree_takes_the_place_of_the_former(place: Path, make: Make, mode: str, name: str) -> None:
    assert make(pack(GOOD, mode), name=name).update() == "success"
    seen = snapshot(place / "app")
    assert {path: (kind, bits) for path, (kind, bits, _) in seen.items()} == {
        "sub": ("directory", 0o750),
        "sub/program": ("file", 0o4755),
        "sub/secret": ("file", 0o600),
        "empty": ("file", 0o640),
        "absolute": ("link", 0),
        "up": ("link", 0),
        "same": ("file", 0o600),
        "hollow": ("directory", 0o1777),
    }
    assert seen["sub/program"][2][:2] == (b"\x7fELF" * 1000, 1_600_000_000_000_000_000)
    assert (seen["absolute"][2], seen["up"][2]) == ("/etc/nowhere", "../../x")
    assert (place / "app/same").samefile(place / "app/sub/secret")
    assert stat.S_IMODE((place / "app").stat().st_mode) == 0o711
    assert sorted(path.name for path in place.iterdir()) == ["app", "other"]


def test_owners_are_kept(place: Path, make: Make) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root may give files away")
    by_number, by_name = member("number", b"1", uid=1234, gid=4321), member("name", b"2", uid=99, gname="root", gid=99)
    assert make(pack([by_number, by_name])).update() == "success"
    found = [(place / "app" / name).stat() for name in ("number", "name")]
    assert [(one.st_uid, one.st_gid) for one in found] == [(1234, 4321), (99, 0)]


def test_a_rollback_brings_the_former_tree_back(place: Path, make: Make) -> None:
    before, inode = snapshot(place), (place / "app").stat().st_ino
    work = make(pack(GOOD))
    assert work.call("ArtifactInstall") == 0
    assert snapshot(place / "app").keys() & {"sub", "old"} == {"sub"}
    assert work.call("ArtifactCommit") == 0
    (place / "app" / "added by the new one").write_text("x")
    work.recover()
    assert snapshot(place) == before
    assert (place / "app").stat().st_ino == inode
    work.recover()
    assert snapshot(place) == before, "again is the same"


def test_where_there_was_nothing(place: Path, make: Make) -> None:
    before = snapshot(place)
    work = make(pack([member("a", b"1")]), to="x/y/z")
    assert work.update(refused=True) == "rolled back"
    assert snapshot(place) == before
    assert make(pack([member("a", b"1")]), to="x/y/z").update() == "success"
    assert (place / "x/y/z/a").read_bytes() == b"1"
    assert stat.S_IMODE((place / "x/y/z").stat().st_mode) == 0o755


def test_a_directory_keeps_its_mode_if_the_archive_says_none(place: Path, make: Make) -> None:
    assert make(pack([member("a", b"1"), member("b/c", b"2")])).update() == "success"
    assert stat.S_IMODE((place / "app").stat().st_mode) == 0o2770
    assert stat.S_IMODE((place / "app/b").stat().st_mode) == 0o755


def test_a_link_to_a_directory_stays_one(place: Path, make: Make) -> None:
    (place / "etc-app").symlink_to("app")
    assert make(pack([member("a", b"1")]), to="etc-app").update() == "success"
    assert (place / "etc-app").is_symlink()
    assert [path.name for path in (place / "app").iterdir()] == ["a"]


def test_of_two_members_of_one_name_the_later_counts(place: Path, make: Make) -> None:
    twice = [
        member("a", b"1"),
        member("a", b"2"),
        link("l", "a"),
        member("l", b"3"),
        folder("d", 0o700),
        folder("d", 0o711),
    ]
    assert make(pack(twice)).update() == "success"
    assert {name: entry[2] and entry[2][0] for name, entry in snapshot(place / "app").items()} == {
        "a": b"2",
        "l": b"3",
        "d": None,
    }
    assert stat.S_IMODE((place / "app/d").stat().st_mode) == 0o711


@pytest.mark.parametrize(
    ("members", "says"),
    [
        ([member("../x", b"1")], "'../x' in the archive lies outside of the directory."),
        ([member("a/../../x", b"1")], "'a/../../x' in the archive lies outside of the directory."),
        ([member("/etc/x", b"1")], "'/etc/x' in the archive lies outside of the directory."),
        ([link("a", "/tmp"), member("a/x", b"1")], "'a' in the archive is a directory and something else."),
        ([link("a", ".."), folder("a")], "'a' in the archive is a directory and something else."),
        ([link("a", "sub"), link("a/b", "x")], "'a' in the archive is a directory and something else."),
        ([member("a", b"1"), member("a/x", b"1")], "'a' in the archive is a directory and something else."),
        ([folder("a"), member("a", b"1")], "The archive has a directory 'a' and something else of that name."),
        ([member(".", b"1")], "The archive has a directory '.' and something else of that name."),
        ([link("h", "/etc/passwd", hard=True)], "'/etc/passwd' in the archive lies outside of the directory."),
        ([link("h", "gone", hard=True)], "'h' in the archive is a link to 'gone', no file in it."),
        ([link("s", "/x"), link("h", "s", hard=True)], "'h' in the archive is a link to 's', no file in it."),
        ([member("d", type=tarfile.CHRTYPE)], "'d' in the archive is neither file, directory nor link."),
        ([member("d", type=tarfile.BLKTYPE)], "'d' in the archive is neither file, directory nor link."),
        ([member("f", type=tarfile.FIFOTYPE)], "'f' in the archive is neither file, directory nor link."),
        ([member("./.bootproof-new", b"1")], "'./.bootproof-new' in the archive is a name of the module's own."),
    ],
)
def test_what_is_not_unpacked(place: Path, make: Make, members: Members, says: str) -> None:
    before = snapshot(place.parent / "place")
    work = make(pack([member("first", b"1"), *members]))
    assert work.update() == "rolled back"
    assert work.said == f"{says}\n"
    assert snapshot(place) == before


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:xz"])
def test_a_damaged_archive(place: Path, make: Make, mode: str) -> None:
    before = snapshot(place)
    whole = pack([member("a", os.urandom(20_000)), member("b", os.urandom(20_000))], mode)
    broken = [whole[:size] for size in (0, 100, 512, 9_000, 20_992, len(whole) - 10_000, len(whole) - 20)]
    if mode == "w":
        broken = [*broken[:-1], whole[:20_992] + b"x" * 300 + whole[21_292:]]  # the header of b
    else:
        broken.append(whole[:9_000] + bytes(1000) + whole[10_000:])
    for raw in broken:
        work = make(raw)
        assert work.update() == "rolled back", len(raw)
        assert work.said.startswith("update.tar is "), work.said
        assert work.said.count("\n") == 1
        assert snapshot(place) == before


def test_destinations_that_are_refused(place: Path, make: Make) -> None:
    good = pack([member("a", b"1")])
    before = snapshot(place)
    for to, says in (
        ("other", f"{place}/other is there already and is not a directory."),
        ("..", f"dest_dir is '{place}/..', which leads upwards with '..'."),
    ):
        work = make(good, to=to)
        assert work.update() == "rolled back"
        assert work.said == f"{says}\n"
    for path, says in (
        ("/", "dest_dir is '/', and the whole system cannot be replaced this way."),
        ("/proc", "/proc is a mount point, which cannot change its name: use a directory in it."),
        (str(place.parent), f"{place.parent} cannot be replaced: the updater works in it."),
        (f"{place.parent}/work", f"{place.parent}/work cannot be replaced: the updater works in it."),
    ):
        work = Client("directory", place.parent / "work").bring({"dest_dir": path.encode(), "update.tar": good})
        assert work.update() == "rolled back"
        assert work.said == f"{says}\n"
    assert snapshot(place) == before


def test_there_is_one_archive(make: Make) -> None:
    work = make(pack([]), more={"second.tar": b""})
    assert work.update() == "rolled back"
    assert work.said == "The artifact should have one archive beside 'dest_dir'; it has second.tar, update.tar.\n"


@pytest.mark.parametrize("waits", [0.0, 0.05, 0.2])
def test_a_kill_in_the_middle(place: Path, make: Make, waits: float) -> None:
    before = snapshot(place)
    work = make(pack([member(f"d{number % 50}/{number}", b"x" * 2000) for number in range(2000)]))
    with work.start("ArtifactInstall") as process:
        while not list(place.glob(".app*")) and process.poll() is None:
            time.sleep(0.001)
        time.sleep(waits)
        os.killpg(process.pid, signal.SIGKILL)
        assert process.wait() == -signal.SIGKILL, "it was not yet through"
    work.recover()
    assert snapshot(place) == before


def test_what_an_update_without_its_record_left_behind_goes_with_the_next(place: Path, make: Make) -> None:
    """The client's directory is gone, and with it the record; the destination may be in any of its moments."""
    new = pack([member("a", b"1")])
    old = snapshot(place / "app")
    (place / ".app.bootproof-tmp" / "half").mkdir(parents=True)
    (place / ".app.bootproof-new").mkdir()
    (place / ".app.bootproof-new" / ".bootproof-new").touch()
    (place / "app").rename(place / ".app.bootproof-old")  # between two renames
    work = make(new)
    assert work.update(refused=True) == "rolled back"
    assert snapshot(place / "app") == old
    assert sorted(path.name for path in place.iterdir()) == ["app", "other"]
    (place / "app" / ".bootproof-new").touch()  # exchanged, and no more
    assert make(new).update(refused=True) == "rolled back"
    assert snapshot(place / "app") == old


def test_a_rollback_that_cannot_be_done_says_so(place: Path, make: Make) -> None:
    work = make(pack([member("a", b"1")]))
    assert (work.call("ArtifactInstall"), work.call("ArtifactCommit")) == (0, 0)
    (place / ".app.bootproof-old").rename(place / "stolen")
    (place / "app" / ".bootproof-new").touch()
    for state in ("ArtifactRollback", "Cleanup"):
        assert work.call(state) == 1
        assert work.said == f"{place}/app cannot be brought back: its former content is gone.\n"
    (place / "stolen").rename(place / ".app.bootproof-old")
    assert work.call("Cleanup") == 0
    assert (place / "app/old/deep/file").read_text() == "old"


def test_what_is_mounted_in_the_directory_is_not_emptied_with_it(place: Path, make: Make, tmp_path: Path) -> None:
    (place / "app" / "a cache").mkdir(parents=True)
    precious = tmp_path / "precious"
    precious.mkdir()
    (precious / "data").write_text("data")
    before = snapshot(place)
    work = make(pack([member("a", b"1")]), to="app")
    work.around = mounted(f"mount --bind {precious} '{place}/app/a cache'")
    assert work.update() == "rolled back"
    says = f"{place}/app/a cache is mounted in {place}/app, and would be emptied with it: unmount it first."
    assert work.said == f"{says}\n"
    assert (snapshot(place), (precious / "data").read_text()) == (before, "data")
