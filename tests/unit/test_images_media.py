# SPDX-License-Identifier: Apache-2.0
"""Images: the same inputs give the same bytes, edits do what they say, and the media fit together."""

import itertools
import os
import time
from dataclasses import replace
from pathlib import Path

import pytest

from harness.explore.stories import story
from images import ext4
from images.disk import copy_into, partition, provision
from images.errors import ImageError
from images.ext4 import Edit
from images.kernel import _copy_modules, _needs, _pack
from images.layout import LAYOUT, MIB, SECTOR, Layout, Window
from images.mutants import MUTANTS, Change, Mutant, mutant
from images.planted import applications, board, course, flip, slot, store
from images.recipes import NAME_FILE, RECIPES, recipe
from images.run import run

UUID = "b007b007-0000-4000-8000-0000000000ff"
FILES = {
    "etc/mender/artifact_info": b"artifact_name=x\n",
    "bin/sh": b"#!" * 3000,
    "boot/initrd.img": b"i" * 10_000,
    "empty": b"",
}

pytestmark = pytest.mark.skipif(
    os.system("which fakeroot mke2fs debugfs >/dev/null") != 0, reason="e2fsprogs is missing"
)


def tree(at: Path, order: int = 1) -> Path:
    """The same files, made in one order or the other, at different times."""
    for name in list(FILES)[::order]:
        path = at / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(FILES[name])
        path.chmod(0o755 if name.startswith("bin") else 0o644)
        os.utime(path, (order + 10, order + 10))
    (at / "sbin").mkdir()
    (at / "sbin/init").symlink_to("/bin/sh")
    for path in [at, *at.rglob("*")]:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o755)
            os.utime(path, (order + 20, order + 20))
    return at


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("ext4")
    image = folder / "image"
    ext4.make(tree(folder / "tree"), image, size=4 * MIB, uuid=UUID, label="test", journal=False)
    return image


@pytest.fixture
def image(made: Path, tmp_path: Path) -> Path:
    (tmp_path / "image").write_bytes(made.read_bytes())
    return tmp_path / "image"


@pytest.mark.parametrize("journal", [False, True])
def test_the_same_tree_gives_the_same_bytes(journal: bool, tmp_path: Path) -> None:
    images = [tmp_path / "one", tmp_path / "two"]
    for image, order in zip(images, (1, -1), strict=True):
        where = tmp_path / f"a much longer name {order}"
        ext4.make(tree(where, order), image, size=16 * MIB, uuid=UUID, label="test", journal=journal)
        time.sleep(1.1 * (order == 1))  # no clock of this machine may be in it; ext4 counts seconds
    assert images[0].read_bytes() == images[1].read_bytes()
    assert images[0].stat().st_size == 16 * MIB
    assert ext4.complaints(images[1]) == []


def test_files_are_read_as_they_were_put_in(image: Path) -> None:
    for name, content in FILES.items():
        assert ext4.read(image, f"/{name}") == content
    assert ext4.read(image, "/nothing") is None
    stat = run(["debugfs", "-R", "stat /bin/sh", image])
    assert "Mode:  0755" in stat
    assert "User:     0   Group:     0" in stat


def test_edits_replace_add_and_remove(image: Path) -> None:
    ext4.edit(image, [Edit("/bin/sh", b"new" * 10_000, 0o755), Edit("/etc/added", b"a", 0o600), Edit("/empty", None)])
    assert ext4.read(image, "/bin/sh") == b"new" * 10_000
    assert ext4.read(image, "/etc/added") == b"a"
    assert ext4.read(image, "/empty") is None
    for name, mode in (("/bin/sh", "0755"), ("/etc/added", "0600")):
        stat = run(["debugfs", "-R", f"stat {name}", image])
        assert f"Mode:  {mode}" in stat
        assert "User:     0   Group:     0" in stat
    assert ext4.complaints(image) == []


def test_an_edit_may_make_its_directory(image: Path) -> None:
    for name in ("first", "second"):
        ext4.edit(image, [Edit(f"/etc/fresh/{name}", b"x", makes_directory=True)])
        assert ext4.read(image, f"/etc/fresh/{name}") == b"x"
    stat = run(["debugfs", "-R", "stat /etc/fresh", image])
    assert "Type: directory    Mode:  0755" in stat
    assert "User:     0   Group:     0" in stat
    assert ext4.complaints(image) == []
    with pytest.raises(ValueError, match="could not be edited"):
        ext4.edit(image, [Edit("/nowhere/deep/file", b"x", makes_directory=True)])


@pytest.mark.parametrize("name", ["b", "scripted-b"])
def test_the_same_edit_gives_the_same_bytes(made: Path, tmp_path: Path, name: str) -> None:
    found = []
    for number in range(2):
        image = tmp_path / str(number)
        image.write_bytes(made.read_bytes())
        recipe(name).apply(image, lambda file: Path(file))
        found.append(image.read_bytes())
        time.sleep(1.1 * (number == 0))
    assert found[0] == found[1]
    assert ext4.read(tmp_path / "0", NAME_FILE) == f"artifact_name=release-{name}\n".encode()


def test_an_edit_in_a_directory_that_is_not_there_is_an_error(image: Path) -> None:
    with pytest.raises(ValueError, match="could not be edited"):
        ext4.edit(image, [Edit("/nowhere/file", b"x")])


def test_an_edit_that_does_not_fit_is_an_error(image: Path) -> None:
    with pytest.raises((ValueError, ImageError)):
        ext4.edit(image, [Edit("/large", os.urandom(5 * MIB))])


def test_damage_is_complained_of(image: Path) -> None:
    content = bytearray(image.read_bytes())
    whole = bytes(content)
    for start, end in ((2 * 4096, 5 * 4096), (1024, 1100)):
        content[:] = whole
        content[start:end] = b"\xff" * (end - start)
        image.write_bytes(content)
        assert ext4.complaints(image) != [], f"bytes {start} to {end}"
    image.write_bytes(bytes(len(whole)))
    assert ext4.complaints(image) != []


def test_a_journal_that_destroys_the_superblock_is_complained_of(tmp_path: Path) -> None:
    """Where nothing is flushed it may hold anything."""
    tree, image, garbage, script = (tmp_path / name for name in ("tree", "image", "garbage", "script"))
    tree.mkdir()
    ext4.make(tree, image, size=16 * MIB, uuid="4c7a5bd8-5d36-4ab3-a0d1-8ad8b3f6d5a1", label="data", journal=True)
    garbage.write_bytes(b"\x5a" * 4096)
    script.write_text(f"jo\njw -b 0 {garbage}\njc\n")
    run(["debugfs", "-w", "-f", script, image])
    assert any("Bad magic number" in line for line in ext4.complaints(image))


def test_a_check_that_does_not_end_is_a_complaint(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    slow = tmp_path / "e2fsck"
    slow.write_text("#!/bin/sh\nexec sleep 60\n")
    slow.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(ext4, "CHECK_SECONDS", 0.2)
    assert set(ext4.complaints(tmp_path / "image")) == {"'e2fsck' did not end within 0 s."}


def test_a_devices_data_partition(tmp_path: Path) -> None:
    files = {"mender/mender.conf": (b"{}", 0o600), "ssh/authorized_keys": (b"key", 0o644)}
    for image in (tmp_path / "one", tmp_path / "two"):
        provision(files, image, size=16 * MIB)
        assert ext4.read(image, "/mender/mender.conf") == b"{}"
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()
    assert "Mode:  0600" in run(["debugfs", "-R", "stat /mender/mender.conf", tmp_path / "one"])


# -- the layout and the partition table --------------------------------------------------------------------------------


def disjoint(windows: tuple[Window, ...], within: int) -> bool:
    ordered = sorted(windows, key=lambda window: window.start)
    return ordered[0].start >= 0 and ordered[-1].end <= within and all(
        one.end <= two.start for one, two in itertools.pairwise(ordered)
    )  # fmt: skip


def test_nothing_overlaps() -> None:
    assert disjoint(LAYOUT.windows, LAYOUT.size)
    assert disjoint(LAYOUT.partitions, LAYOUT.disk.size - 33 * SECTOR), "the second table is at the end"
    assert all(part.start >= 34 * SECTOR and part.start % MIB == 0 for part in LAYOUT.partitions)
    copies = tuple(Window("env", offset, LAYOUT.env_size) for offset in LAYOUT.env_offsets)
    assert len(copies) == 2
    assert disjoint(copies, LAYOUT.card.size)
    assert LAYOUT.card.size & (LAYOUT.card.size - 1) == 0, "the controller wants a power of two"
    assert all(number % SECTOR == 0 for window in LAYOUT.windows for number in (window.start, window.size))
    assert LAYOUT.partition("rootfs-a").size == LAYOUT.partition("rootfs-b").size


def test_addresses_have_windows() -> None:
    for window in LAYOUT.windows:
        assert LAYOUT.window_of(window.start) == LAYOUT.window_of(window.end - 1) == window
    for outside in (-1, LAYOUT.size):
        with pytest.raises(ValueError, match="No window holds address"):
            LAYOUT.window_of(outside)
    with pytest.raises(KeyError):
        LAYOUT.partition("rootfs-c")
    assert LAYOUT.with_single_environment().env_offsets == LAYOUT.env_offsets[:1]


def test_the_partition_table_is_always_the_same(tmp_path: Path) -> None:
    small = replace(
        LAYOUT, disk=Window("disk", 0, 8 * MIB), partitions=(Window("x", MIB, MIB), Window("y", 3 * MIB, MIB))
    )
    tables = [tmp_path / "one", tmp_path / "two"]
    for path in tables:
        partition(path, small)
    assert tables[0].read_bytes() == tables[1].read_bytes()
    partition(tmp_path / "disk", LAYOUT)
    said = run(["sfdisk", "-l", "-o", "Start,Sectors,Name", tmp_path / "disk"])
    found = [line.split() for line in said.splitlines() if "rootfs" in line or line.endswith("data")]
    assert found == [[str(part.start // SECTOR), str(part.size // SECTOR), part.name] for part in LAYOUT.partitions]


def test_sparse_copies_stay_sparse(tmp_path: Path) -> None:
    source, image = tmp_path / "source", tmp_path / "image"
    with source.open("wb") as out:
        out.truncate(64 * MIB)
        for place in (0, 3 * MIB + 5, 63 * MIB):
            out.seek(place)
            out.write(bytes([place % 251 + 1]) * 70_000)
    with image.open("wb") as out:
        out.truncate(128 * MIB)
    copy_into(source, image, 32 * MIB)
    assert image.read_bytes()[32 * MIB : 96 * MIB] == source.read_bytes()
    assert image.stat().st_size == 128 * MIB
    assert image.stat().st_blocks * 512 < 8 * MIB
    empty = tmp_path / "empty"
    empty.touch()
    copy_into(empty, image, 0)


# -- the initial RAM file system ---------------------------------------------------------------------------------------


def test_packing_depends_on_names_and_contents_alone(tmp_path: Path) -> None:
    images = []
    for order in (1, -1):
        images.append(tmp_path / f"initrd-{order}")
        _pack(tree(tmp_path / f"tree {order}", order), images[-1])
    assert images[0].read_bytes() == images[1].read_bytes()
    listed = run(["cpio", "-t", "--quiet"], stdin=images[0]).split()
    assert listed == sorted(listed)
    assert {"bin/sh", "sbin/init", "empty"} <= set(listed)


def test_modules_are_loaded_after_what_they_need(tmp_path: Path) -> None:
    needs = _needs(
        "k/ext4.ko: k/jbd2.ko k/crc16.ko\nk/jbd2.ko:\nk/crc16.ko:\nk/virtio-net.ko.xz: k/failover.ko\nk/failover.ko:\n"
    )
    assert needs["ext4"] == ["k/crc16.ko", "k/jbd2.ko", "k/ext4.ko"]
    (tmp_path / "k").mkdir()
    for name in ("ext4.ko", "jbd2.ko", "crc16.ko", "virtio-net.ko.xz", "failover.ko"):
        (tmp_path / "k" / name).touch()
    _copy_modules(tmp_path, needs, ("jbd2", "ext4", "virtio-net"), tmp_path / "out")
    order = (tmp_path / "out/order").read_text().split()
    assert order == ["jbd2.ko", "crc16.ko", "ext4.ko", "failover.ko", "virtio-net.ko.xz"]


# -- recipes and planted faults ----------------------------------------------------------------------------------------


def test_recipes_have_names_and_differ() -> None:
    assert all(name == one.name for name, one in RECIPES.items())
    assert len({one.artifact_name for one in RECIPES.values()}) == len(RECIPES)
    assert all(one.says for one in RECIPES.values())
    with pytest.raises(ImageError) as problem:
        recipe("z")
    assert problem.value.message == "There is no version 'z'."
    assert all(name in problem.value.next_step for name in RECIPES)


def test_planted_faults_have_names_and_fit_what_they_change() -> None:
    assert all(name == one.name for name, one in MUTANTS.items())
    assert len({one.plants for one in MUTANTS.values()}) == len(MUTANTS)
    for one in MUTANTS.values():
        assert one.plants
        assert one.caught_by or one.explored, f"nothing is to catch {one.name}"
        assert bool(one.caught_by) == bool(one.rule)
        assert one.explored is None or story(one.explored)
        assert bool(one.changes) == bool(one.edits())
        assert one.changes or not one.redundant_environment
    with pytest.raises(ImageError) as problem:
        mutant("z")
    assert problem.value.message == "There is no mutant 'z'."


def test_no_planted_fault_takes_the_name_of_another() -> None:
    areas = (flip, slot, store, course, board, applications)
    assert sum(len(area.FAULTS) for area in areas) == len(MUTANTS)


@pytest.mark.parametrize("old", ["this text is nowhere", "import "])
def test_a_planted_fault_that_does_not_fit_once_is_an_error(old: str) -> None:
    change = Change("slots.py", old, "x")
    wrong = Mutant("wrong", "nothing", caught_by="nobody", rule="none", changes=(change,))
    with pytest.raises(ImageError, match=r"Mutant 'wrong' no longer fits slots\.py"):
        wrong.edits()


def test_a_layout_is_a_value() -> None:
    again = Layout(LAYOUT.card, LAYOUT.disk, LAYOUT.marks, LAYOUT.partitions, LAYOUT.env_offsets, LAYOUT.env_size)
    assert again == LAYOUT
    assert hash(again) == hash(LAYOUT)


def test_a_data_partition_whose_superblock_was_torn_is_whole(tmp_path: Path) -> None:
    """Its two sectors may be of different times after a power cut; no checksum may make that fatal (ADR 12)."""
    image = tmp_path / "data.img"
    provision({"file": (b"content", 0o644)}, image, size=16 * MIB)
    before = image.read_bytes()
    run(["debugfs", "-w", "-R", "set_super_value mnt_count 7", image])
    after = image.read_bytes()
    second_sector = 1024 + 512
    assert before[1024:second_sector] != after[1024:second_sector]
    image.write_bytes(after[:second_sector] + before[second_sector:])
    assert ext4.complaints(image) == []
    assert ext4.read(image, "/file") == b"content"
