# SPDX-License-Identifier: Apache-2.0
"""What somebody brings to have an update explored: what can be used, and what is refused with one sentence."""

from dataclasses import replace
from pathlib import Path

import pytest

from harness.errors import UsageError
from harness.explore.commands import Commands
from harness.explore.given import Given, described
from images.catalogue import DEFAULT_ENVIRONMENT, Catalogue
from images.layout import Layout
from images.stage import Workshop
from tests.unit.small_board import LAYOUT, make_image

OLD, NEW = b"old" * 10_000, b"new" * 10_000


class SmallCatalogue(Catalogue):
    @property
    def layout(self) -> Layout:
        return LAYOUT


@pytest.fixture
def given(tmp_path: Path) -> Given:
    """All in order, with OLD in slot B and no mark strip."""
    image = make_image(tmp_path, {})
    with image.open("r+b") as out:
        out.seek(LAYOUT.partition("rootfs-b").start)
        out.write(OLD)
        out.truncate(LAYOUT.marks.start)
    for name, content in (("old", OLD), ("new", NEW)):
        (tmp_path / name).write_bytes(content)
    uboot = b"code\0" + DEFAULT_ENVIRONMENT.read_bytes().replace(b"\n", b"\0") + b"code"
    (tmp_path / "uboot").write_bytes(uboot)
    return Given(image, tmp_path / "old", tmp_path / "new", Commands("install"), tmp_path / "uboot")


def describe(given: Given) -> str:
    """The sentence with which it is refused."""
    with pytest.raises(UsageError) as refused:
        described(given, SmallCatalogue(Workshop()), 1)
    return str(refused.value)


def test_what_can_be_used(given: Given) -> None:
    about = described(given, SmallCatalogue(Workshop()), 7)
    assert (about.story, about.seed, about.commands) == ("foreign", 7, given.commands)
    assert [(one.name, one.size) for one in about.images] == [("old", len(OLD)), ("new", len(NEW))]
    assert about.heard[0].record.status is None
    assert (about.by_hand, about.permitted) == (True, 0), "nobody has to permit the new one"


def test_an_image_with_its_mark_strip(given: Given) -> None:
    with given.image.open("r+b") as out:
        out.truncate(LAYOUT.size)
    assert described(given, SmallCatalogue(Workshop()), 1).layout == LAYOUT


@pytest.mark.parametrize("name", ["image", "old", "new", "uboot"])
def test_a_file_that_cannot_be_read(name: str, given: Given, tmp_path: Path) -> None:
    assert "cannot be read: No such file" in describe(replace(given, **{name: tmp_path / "nowhere"}))
    assert "cannot be read: Is a directory" in describe(replace(given, **{name: tmp_path}))


@pytest.mark.parametrize("size", [0, LAYOUT.marks.start - 512, LAYOUT.size + 1])
def test_an_image_of_another_size(size: int, given: Given) -> None:
    with given.image.open("r+b") as out:
        out.truncate(size)
    assert f"has {size} bytes instead of {LAYOUT.marks.start}" in describe(given)


def test_an_image_without_a_partition_table(given: Given) -> None:
    with given.image.open("r+b") as out:
        out.seek(LAYOUT.disk.start)
        out.write(bytes(64 * 1024))
    assert "Its disk must be partitioned as the board's is." in describe(given)


def test_an_image_that_holds_another_system(given: Given) -> None:
    given.old.write_bytes(b"other")
    assert "Neither slot of" in describe(given)


def test_an_old_image_that_is_the_new_one(given: Given) -> None:
    given.new.write_bytes(OLD)
    assert "are the same" in describe(given)


@pytest.mark.parametrize("size", [0, LAYOUT.partition("rootfs-a").size + 1])
def test_a_slot_image_that_no_slot_can_hold(size: int, given: Given) -> None:
    given.new.write_bytes(bytes(size))
    assert f"The new slot image has {size} bytes; a slot holds up to" in describe(given)


def test_a_bootloader_with_another_environment(given: Given) -> None:
    assert given.uboot is not None
    given.uboot.write_bytes(given.uboot.read_bytes().replace(b"bootlimit=1", b"bootlimit=3"))
    assert "has no 'bootlimit' as ours" in describe(given)


@pytest.mark.parametrize("name", ["run", "then", "check"])
def test_a_command_that_cannot_be_typed(name: str, given: Given) -> None:
    commands = replace(given.commands, **{name: "echo one\necho two"})
    assert "cannot be typed" in describe(replace(given, commands=commands))


def test_a_ready_that_is_no_expression(given: Given) -> None:
    assert "is no regular expression" in describe(replace(given, commands=Commands("install", ready="(")))
