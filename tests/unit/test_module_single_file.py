# SPDX-License-Identifier: Apache-2.0
"""The module `single-file`, as a program under a client."""

import os
import stat
import subprocess
from pathlib import Path

import pytest

from tests.unit.module_client import USER, Client, mounted, snapshot


@pytest.fixture
def place(tmp_path: Path) -> Path:
    place = tmp_path / "place"
    (place / "etc").mkdir(parents=True)
    return place


def client(place: Path, *, content: bytes = b"new", under: str = "etc", **texts: str) -> Client:
    told = {"dest_dir": f"{place}/{under}\n", "filename": "app.conf\n", "permissions": "640\n", **texts}
    files = {name: text.encode() for name, text in told.items() if text}
    return Client("single-file", place.parent / "work").bring({"app.conf": content, **files})


def test_a_file_is_put_in_place(place: Path) -> None:
    work = client(place, content=os.urandom(3_000_000))
    assert work.update() == "success"
    assert [path.name for path in (place / "etc").iterdir()] == ["app.conf"]
    path = place / "etc" / "app.conf"
    assert path.read_bytes() == (work.work / "files" / "app.conf").read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o640


def test_directories_are_made_and_go_with_a_rollback(place: Path) -> None:
    before = snapshot(place)
    work = client(place, under="a/b//c/./")
    assert work.update(refused=True) == "rolled back"
    assert snapshot(place) == before
    assert client(place, under="a/b//c/./").update() == "success"
    assert (place / "a/b/c/app.conf").read_bytes() == b"new"
    assert stat.S_IMODE((place / "a/b").stat().st_mode) == 0o755


def test_what_others_put_into_a_new_directory_stays(place: Path) -> None:
    work = client(place, under="a/b")
    assert work.call("ArtifactInstall") == 0
    (place / "a" / "theirs").write_text("x")
    work.recover()
    assert sorted(snapshot(place)) == ["a", "a/theirs", "etc"]


def test_a_rollback_restores_all_of_a_file(place: Path) -> None:
    path = place / "etc" / "app.conf"
    path.write_text("old")
    extended = True
    try:
        os.setxattr(path, "user.mine", b"\0\xff")
    except OSError:
        extended = False  # this file system has none
    if os.geteuid() == 0:
        os.chown(path, 1234, 4321)
    path.chmod(0o6755)
    os.utime(path, ns=(1, 1_234_567_890_123_456_789))
    before = snapshot(place)
    work = client(place)
    assert work.update(refused=True) == "rolled back"
    assert snapshot(place) == before
    assert not extended or os.getxattr(path, "user.mine") == b"\0\xff"
    work.recover()
    assert snapshot(place) == before


def test_a_link_is_replaced_and_comes_back(place: Path) -> None:
    (place / "etc" / "target").write_text("of the link")
    (place / "etc" / "app.conf").symlink_to("target")
    before = snapshot(place)
    assert client(place).update(refused=True) == "rolled back"
    assert snapshot(place) == before
    assert client(place).update() == "success"
    assert not (place / "etc" / "app.conf").is_symlink()
    assert (place / "etc" / "target").read_text() == "of the link"


def test_directories_that_are_links_are_followed(place: Path) -> None:
    (place / "data").mkdir()
    (place / "link").symlink_to("data")
    assert client(place, under="link").update() == "success"
    assert (place / "link").is_symlink()
    assert (place / "data" / "app.conf").read_bytes() == b"new"


def test_without_permissions_the_file_keeps_the_mode_it_was_stored_with(place: Path) -> None:
    work = client(place, permissions="")
    (work.work / "files" / "app.conf").chmod(0o604)
    assert work.update() == "success"
    assert stat.S_IMODE((place / "etc" / "app.conf").stat().st_mode) == 0o604


def test_a_name_of_any_length_and_kind(place: Path) -> None:
    for name in ("n" * 255, "ü☃ '\"$(x)", "-rf", ".hidden"):
        work = client(place, filename=name)
        (work.work / "files" / name).write_bytes(b"named")
        assert work.update() == "success", work.said
        assert (place / "etc" / name).read_bytes() == b"named"
    assert len(list((place / "etc").iterdir())) == 4


@pytest.mark.parametrize(
    ("texts", "says"),
    [
        ({"dest_dir": "etc"}, "dest_dir is 'etc', which is not an absolute path."),
        ({"dest_dir": "/etc/../root"}, "dest_dir is '/etc/../root', which leads upwards with '..'."),
        ({"dest_dir": "\n"}, "The artifact's file 'dest_dir' is empty."),
        ({"dest_dir": "/e\0tc"}, "The artifact's file 'dest_dir' is not a text."),
        ({"dest_dir": ""}, "The artifact has no file 'dest_dir'."),
        ({"filename": "a/b"}, "filename is 'a/b', which is not the name of a file."),
        ({"filename": ".."}, "filename is '..', which is not the name of a file."),
        ({"filename": "dest_dir"}, "filename is 'dest_dir', which is a file of the module's own."),
        ({"filename": "other"}, "The artifact has no file 'other', which its file 'filename' speaks of."),
        ({"permissions": "rw-"}, "permissions is 'rw-', which is no mode in octal digits."),
        ({"permissions": "17777"}, "permissions is '17777', which is no mode in octal digits."),
        ({"permissions": "-1"}, "permissions is '-1', which is no mode in octal digits."),
    ],
)
def test_what_is_refused(place: Path, texts: dict[str, str], says: str) -> None:
    before = snapshot(place)
    work = client(place, **texts)  # type: ignore[arg-type]  # none of them is the content
    assert work.update() == "rolled back"
    assert work.said == f"{says}\n"
    assert snapshot(place) == before


def test_what_is_no_file_is_not_replaced(place: Path) -> None:
    (place / "etc" / "app.conf").mkdir()
    work = client(place)
    assert work.update() == "rolled back"
    assert work.said == f"{place}/etc/app.conf is there already and is not a file.\n"
    os.mkfifo(place / "pipe")
    assert client(place, under="pipe").update() == "rolled back"


def test_a_rollback_that_cannot_be_done_says_so_and_keeps_what_there_is(place: Path) -> None:
    (place / "etc" / "app.conf").write_text("old")
    work = client(place)
    assert (work.call("ArtifactInstall"), work.call("ArtifactCommit")) == (0, 0)
    (work.work / "tmp" / "former").rename(place / "stolen")
    for state in ("ArtifactRollback", "Cleanup"):
        assert work.call(state) == 1
        assert work.said == f"{place}/etc/app.conf cannot be brought back: its former content is gone.\n"
    (place / "stolen").rename(work.work / "tmp" / "former")
    assert work.call("Cleanup") == 0
    assert (place / "etc" / "app.conf").read_text() == "old"


def test_a_read_only_system(place: Path) -> None:
    (place / "etc" / "app.conf").write_text("old")
    before = snapshot(place)
    work = client(place)
    work.around = mounted(f"mount --bind {place} {place} && mount -o remount,ro,bind {place}")
    assert work.update() == "rolled back"
    assert work.said == f"{place}/etc/.app.conf.bootproof-new is on a read-only file system and cannot be changed.\n"
    assert snapshot(place) == before


def test_a_read_only_system_without_the_directory(place: Path) -> None:
    """The system refuses to remove a directory that was never made with the same words as to make it."""
    work = client(place, under="a/b")
    work.around = mounted(f"mount --bind {place} {place} && mount -o remount,ro,bind {place}")
    assert work.update() == "rolled back"
    assert work.said == f"{place}/a is on a read-only file system and cannot be changed.\n"


def test_a_full_disk(place: Path) -> None:
    """One file system for all states: its content is looked at where it is mounted."""
    work = client(place, content=bytes(300_000))
    script = f"""
        mount -t tmpfs -o size=128k tmpfs {place} && mkdir {place}/etc && echo old >{place}/etc/app.conf
        {work.program} ArtifactInstall {work.work} && exit 9
        for state in ArtifactRollback ArtifactFailure Cleanup; do {work.program} $state {work.work} || exit 8; done
        ls -A {place}/etc; cat {place}/etc/app.conf
    """
    mounted("true")
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    done = subprocess.run([*USER, "sh", "-c", script], capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stdout) == (0, "app.conf\nold\n"), done.stderr
    assert done.stderr == f"There is no room left for {place}/etc/.app.conf.bootproof-new on its file system.\n"
