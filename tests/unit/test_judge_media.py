# SPDX-License-Identifier: Apache-2.0
"""What is on the media: environment, partition table, slots and data partition are whole, or the damage is found."""

from __future__ import annotations

import hashlib
import shutil
import zlib
from dataclasses import replace
from pathlib import Path

import pytest

from harness.judge import data, partitions
from harness.judge.bootenv import encode_copy, read_environment
from harness.judge.partitions import BrokenTable, read_gpt
from harness.judge.slots import KnownImage, identify
from images import disk, ext4
from images.layout import MIB, SECTOR
from tests.unit.small_board import LAYOUT, make_image

LAST = LAYOUT.disk.size // SECTOR - 1
CANARIES = {"/canary": b"still here\n" * 1000, "deep/down/canary": bytes(range(256))}


class FileMedium:
    """A whole image in a file."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def read(self, address: int, length: int) -> bytes:
        with self.path.open("rb") as image:
            image.seek(address)
            return image.read(length)

    def digest(self, start: int, length: int) -> str:
        return hashlib.sha256(self.read(start, length)).hexdigest()

    def write_to(self, path: Path, start: int, length: int) -> None:
        path.write_bytes(self.read(start, length))

    def write(self, address: int, content: bytes) -> None:
        with self.path.open("r+b") as image:
            image.seek(address)
            image.write(content)

    def flip(self, address: int) -> None:
        self.write(address, bytes([self.read(address, 1)[0] ^ 0x10]))


@pytest.fixture(scope="session")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A board's image: a partitioned disk, with canaries on the data partition."""
    files = {path.lstrip("/"): content for path, content in CANARIES.items()}
    return make_image(tmp_path_factory.mktemp("judge"), files)


@pytest.fixture
def medium(original: Path, tmp_path: Path) -> FileMedium:
    return FileMedium(Path(shutil.copy(original, tmp_path / "board.img")))


class TestEnvironment:
    def test_both_copies_are_read_from_the_card(self, medium: FileMedium) -> None:
        medium.write(0x10000, encode_copy({"mender_boot_part": "2"}, 0, LAYOUT.env_size))
        medium.write(0x20000, encode_copy({"mender_boot_part": "1"}, 255, LAYOUT.env_size))
        env = read_environment(medium, LAYOUT)

        assert (env.active, env.slot) == (0, "b")
        assert [copy.flag for copy in env.copies] == [0, 255]

    def test_a_torn_write_leaves_the_other_copy(self, medium: FileMedium) -> None:
        new = encode_copy({"mender_boot_part": "2", "pad": "x" * 1000}, 2, LAYOUT.env_size)
        medium.write(0x10000, encode_copy({"mender_boot_part": "1"}, 1, LAYOUT.env_size))
        medium.write(0x20000, new[:SECTOR])
        assert read_environment(medium, LAYOUT).slot == "a"

        medium.write(0x20000, new)
        assert read_environment(medium, LAYOUT).slot == "b"

    def test_an_empty_card_has_none(self, medium: FileMedium) -> None:
        env = read_environment(medium, LAYOUT, {"mender_boot_part": "1"})

        assert (env.active, env.slot) == (None, "a")

    def test_a_card_with_one_copy_has_no_flag(self, medium: FileMedium) -> None:
        medium.write(0x10000, encode_copy({"mender_boot_part": "2"}, None, LAYOUT.env_size))

        assert read_environment(medium, replace(LAYOUT, env_offsets=(0x10000,))).slot == "b"


class TestPartitions:
    def test_both_copies_of_the_table_hold_the_layout(self, medium: FileMedium) -> None:
        for backup in (False, True):
            table = read_gpt(medium, LAYOUT.disk.start, LAYOUT.disk.size, backup=backup)
            assert [(part.name, part.start, part.size) for part in table] == [
                (part.name, part.start, part.size) for part in LAYOUT.partitions
            ]
        assert str(table[0].identity).upper() == disk.PARTITION_ID.format(1)
        assert partitions.complaints(medium, LAYOUT) == []

    @pytest.mark.parametrize("sector", [1, LAST])
    @pytest.mark.parametrize("byte", [0, 8, 12, 16, 20, 24, 32, 40, 48, 56, 72, 80, 84, 88, 91, 92, 511])
    def test_any_byte_of_a_header_counts(self, medium: FileMedium, sector: int, byte: int) -> None:
        medium.flip(LAYOUT.disk.start + sector * SECTOR + byte)
        (complaint,) = partitions.complaints(medium, LAYOUT)

        assert complaint.startswith(f"The {'primary' if sector == 1 else 'backup'} partition table is broken: ")
        with pytest.raises(BrokenTable):
            read_gpt(medium, LAYOUT.disk.start, LAYOUT.disk.size, backup=sector == LAST)
        read_gpt(medium, LAYOUT.disk.start, LAYOUT.disk.size, backup=sector == 1)

    @pytest.mark.parametrize(("sector", "name"), [(2, "primary"), (33, "primary"), (LAST - 32, "backup")])
    def test_any_entry_counts(self, medium: FileMedium, sector: int, name: str) -> None:
        medium.flip(LAYOUT.disk.start + sector * SECTOR + 40)

        assert partitions.complaints(medium, LAYOUT) == [
            f"The {name} partition table is broken: the checksum of its entries is wrong."
        ]

    @pytest.mark.parametrize("byte", [450, 454, 510, 511])
    def test_the_protective_mbr_counts(self, medium: FileMedium, byte: int) -> None:
        medium.flip(LAYOUT.disk.start + byte)

        assert partitions.complaints(medium, LAYOUT) == ["The protective MBR is broken."]

    def test_a_wiped_disk_has_no_table(self, medium: FileMedium) -> None:
        medium.write(LAYOUT.disk.start, bytes(LAYOUT.disk.size))

        assert len(partitions.complaints(medium, LAYOUT)) == 3

    def test_a_valid_table_of_another_layout_is_found(self, medium: FileMedium, tmp_path: Path) -> None:
        smaller = replace(LAYOUT, partitions=LAYOUT.partitions[:2])
        disk.partition(tmp_path / "disk.img", smaller)
        medium.write(LAYOUT.disk.start, (tmp_path / "disk.img").read_bytes())

        found = partitions.complaints(medium, LAYOUT)
        assert len(found) == 2
        assert all("instead of" in complaint for complaint in found)

    @pytest.mark.parametrize(
        ("place", "value", "says"),
        [
            (24, 2, "written for sector 2"),
            (32, 77, "other copy at sector 77"),
            (72, LAST, "not on the disk"),
            (80, 0, "cannot be"),
            (84, 130, "cannot be"),
            (48, 4096, "outside 34 to 4096"),
        ],
    )
    def test_a_header_that_lies_under_a_good_checksum_is_found(
        self, medium: FileMedium, place: int, value: int, says: str
    ) -> None:
        start = LAYOUT.disk.start + SECTOR
        header = bytearray(medium.read(start, 92))
        width = 4 if place in (80, 84) else 8
        header[place : place + width] = value.to_bytes(width, "little")
        header[16:20] = bytes(4)
        header[16:20] = zlib.crc32(header).to_bytes(4, "little")
        medium.write(start, bytes(header))

        (complaint,) = partitions.complaints(medium, LAYOUT)
        assert says in complaint

    def test_overlapping_partitions_are_found(self, medium: FileMedium) -> None:
        table = LAYOUT.disk.start + 2 * SECTOR
        entries = bytearray(medium.read(table, 128 * 128))
        entries[128 + 32 : 128 + 48] = entries[32:48]  # the second begins and ends where the first does
        header = bytearray(medium.read(LAYOUT.disk.start + SECTOR, 92))
        header[88:92] = zlib.crc32(entries).to_bytes(4, "little")
        header[16:20] = bytes(4)
        header[16:20] = zlib.crc32(header).to_bytes(4, "little")
        medium.write(table, bytes(entries))
        medium.write(LAYOUT.disk.start + SECTOR, bytes(header))

        with pytest.raises(BrokenTable, match="'rootfs-a' and 'rootfs-b' overlap"):
            read_gpt(medium, LAYOUT.disk.start, LAYOUT.disk.size)


class TestSlots:
    OLD = b"old image " * 1000
    NEW = b"new image " * 1000
    BIG = b"big image " * 2000

    @pytest.fixture
    def known(self, tmp_path: Path) -> list[KnownImage]:
        images = []
        for name, content in (("OLD", self.OLD), ("NEW", self.NEW), ("BIG", self.BIG)):
            (tmp_path / name).write_bytes(content)
            images.append(KnownImage.of_file(name, tmp_path / name))
        return images

    def test_each_slot_is_known_by_its_bytes(self, medium: FileMedium, known: list[KnownImage]) -> None:
        medium.write(LAYOUT.partition("rootfs-a").start, self.OLD)
        medium.write(LAYOUT.partition("rootfs-b").start, self.BIG)

        assert identify(medium, LAYOUT, "a", known) == "OLD"
        assert identify(medium, LAYOUT, "b", known) == "BIG"

    @pytest.mark.parametrize("byte", [0, 4095, 9999])
    def test_a_single_byte_makes_it_unknown(self, medium: FileMedium, known: list[KnownImage], byte: int) -> None:
        start = LAYOUT.partition("rootfs-a").start
        medium.write(start, self.NEW)
        medium.flip(start + byte)

        assert identify(medium, LAYOUT, "a", known) is None

    def test_what_follows_the_image_does_not_count(self, medium: FileMedium, known: list[KnownImage]) -> None:
        medium.write(LAYOUT.partition("rootfs-a").start, self.NEW + b"left over")

        assert identify(medium, LAYOUT, "a", known) == "NEW"

    def test_a_mix_of_two_images_is_neither(self, medium: FileMedium, known: list[KnownImage]) -> None:
        medium.write(LAYOUT.partition("rootfs-b").start, self.NEW[:5120] + self.OLD[5120:])

        assert identify(medium, LAYOUT, "b", known) is None

    @pytest.mark.parametrize("size", [0, 2 * MIB + 1])
    def test_an_image_that_no_slot_can_hold_is_in_none(self, medium: FileMedium, size: int) -> None:
        image = KnownImage("odd", size, medium.digest(LAYOUT.partition("rootfs-a").start, size))

        assert identify(medium, LAYOUT, "a", [image]) is None
        assert identify(medium, LAYOUT, "a", []) is None


class TestData:
    def test_a_whole_partition_has_no_complaints(self, medium: FileMedium) -> None:
        before = medium.digest(0, LAYOUT.size)

        assert data.complaints(medium, LAYOUT, CANARIES) == []
        assert medium.digest(0, LAYOUT.size) == before

    def test_a_missing_file_is_found(self, medium: FileMedium) -> None:
        assert data.complaints(medium, LAYOUT, {"/gone": b""}) == ["The file /gone is gone from the data partition."]

    @pytest.mark.parametrize(
        ("expected", "says"),
        [
            (b"still here!" * 1000, "has changed, first at byte 10."),
            (b"still here\n" * 999, "has 11000 bytes instead of 10989."),
            (b"", "has 11000 bytes instead of 0."),
        ],
    )
    def test_a_changed_file_is_found(self, medium: FileMedium, expected: bytes, says: str) -> None:
        (complaint,) = data.complaints(medium, LAYOUT, {"/canary": expected})

        assert complaint.endswith(says)

    def test_a_changed_byte_in_a_file_is_found(self, medium: FileMedium) -> None:
        place = LAYOUT.partition("data")
        at = medium.read(place.start, place.size).index(CANARIES["/canary"])
        medium.flip(place.start + at + 77)

        assert data.complaints(medium, LAYOUT, CANARIES) == [
            "The file /canary on the data partition has changed, first at byte 77."
        ]

    def test_a_removed_canary_is_found(self, medium: FileMedium, tmp_path: Path) -> None:
        place = LAYOUT.partition("data")
        medium.write_to(tmp_path / "data.img", place.start, place.size)
        ext4.edit(tmp_path / "data.img", [ext4.Edit("/canary", None)])
        medium.write(place.start, (tmp_path / "data.img").read_bytes())

        assert "The file /canary is gone from the data partition." in data.complaints(medium, LAYOUT, CANARIES)

    @pytest.mark.parametrize("block", [0, 1], ids=["superblock", "group descriptors"])
    def test_damage_to_the_file_system_is_found(self, medium: FileMedium, block: int) -> None:
        start = LAYOUT.partition("data").start
        medium.write(start + block * 4096, b"\xa5" * 4096)

        found = data.complaints(medium, LAYOUT, {})
        assert found
        assert all(line.startswith("The file system on the data partition is damaged: ") for line in found)

    def test_a_wiped_partition_is_found(self, medium: FileMedium) -> None:
        place = LAYOUT.partition("data")
        medium.write(place.start, bytes(place.size))
        found = data.complaints(medium, LAYOUT, CANARIES)

        assert "The file /canary is gone from the data partition." in found
        assert len(found) > len(CANARIES)
        assert "data.img" not in " ".join(found)  # where the scratch copy was is nobody's concern
