# SPDX-License-Identifier: Apache-2.0
"""qcow2 overlays, as QEMU's own tools read them."""

import random
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from harness.storage import DiskView, Extent, ExtentMap, write_overlay

CLUSTER = 65536
MIB = 1 << 20
qemu = pytest.mark.skipif(shutil.which("qemu-img") is None, reason="qemu-img is not installed")


def make_sources(folder: Path, base_size: int) -> None:
    (folder / "base").write_bytes(random.Random(1).randbytes(base_size))
    (folder / "data").write_bytes(random.Random(2).randbytes(MIB))


def scattered(folder: Path, size: int, seed: int, count: int) -> ExtentMap:
    chance = random.Random(seed)
    extents = []
    for _ in range(count):
        length = min(chance.choice([1, 512, 4096, CLUSTER, 3 * CLUSTER + 512]), size)
        address = chance.randrange(size - length + 1)
        extents.append(Extent(address, length, folder / "data", chance.randrange(MIB - length + 1)))
    return ExtentMap(extents)


def check(overlay: Path) -> None:
    said = subprocess.run(["qemu-img", "check", str(overlay)], capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stdout + said.stderr
    assert "No errors were found" in said.stdout


def flat(overlay: Path) -> bytes:
    raw = overlay.with_suffix(".raw")
    subprocess.run(["qemu-img", "convert", "-O", "raw", str(overlay), str(raw)], check=True, capture_output=True)
    return raw.read_bytes()


@qemu
@pytest.mark.parametrize(
    ("base_size", "size", "count"),
    [
        (2 * MIB, 2 * MIB, 0),
        (2 * MIB, 2 * MIB, 7),
        (2 * MIB, 2 * MIB, 60),
        (2 * MIB, MIB + 512, 9),  # the disk ends before the base, inside a cluster
        (MIB + 512, 2 * MIB + 1024, 9),  # the base ends before the disk
        (0, MIB, 9),
        (1024, 1024, 1),
    ],
)
def test_qemu_reads_what_the_view_reads(tmp_path: Path, base_size: int, size: int, count: int) -> None:
    make_sources(tmp_path, base_size)
    extents = scattered(tmp_path, size, seed=count, count=count)
    overlay = tmp_path / "overlay.qcow2"
    write_overlay(overlay, tmp_path / "base", size, extents)
    check(overlay)
    assert flat(overlay) == DiskView(tmp_path / "base", extents).read(0, size)


@qemu
def test_disk_of_several_tables_and_refcount_blocks(tmp_path: Path) -> None:
    """Above 2 GiB of clusters the reference counts need a second block; holes keep the test small."""
    make_sources(tmp_path, MIB)
    sparse = tmp_path / "sparse"
    with sparse.open("wb") as out:
        out.truncate(3 << 30)
        out.seek((3 << 30) - 5)
        out.write(b"there")
    extents = ExtentMap([Extent(700 * MIB + 100, (3 << 30) - 200, sparse, 200), Extent(0, 5, tmp_path / "data", 0)])
    overlay = tmp_path / "overlay.qcow2"
    write_overlay(overlay, tmp_path / "base", 5 << 30, extents)
    check(overlay)
    said = subprocess.run(
        ["qemu-io", "-r", "-c", f"read -v {700 * MIB + (3 << 30) - 105} 5", str(overlay)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "there" in said.stdout


@qemu
def test_overlay_can_be_written_to(tmp_path: Path) -> None:
    make_sources(tmp_path, 2 * MIB)
    extents = scattered(tmp_path, 2 * MIB, seed=5, count=20)
    overlay = tmp_path / "overlay.qcow2"
    write_overlay(overlay, tmp_path / "base", 2 * MIB, extents)
    base = (tmp_path / "base").read_bytes()
    expected = bytearray(DiskView(tmp_path / "base", extents).read(0, 2 * MIB))
    expected[4096:1_052_672] = b"\xcd" * MIB
    subprocess.run(["qemu-io", "-c", "write -q -P 0xcd 4096 1M", "-c", "flush", str(overlay)], check=True)
    check(overlay)
    assert flat(overlay) == expected
    assert (tmp_path / "base").read_bytes() == base


def test_same_content_gives_the_same_bytes(tmp_path: Path) -> None:
    make_sources(tmp_path, 2 * MIB)
    extents = scattered(tmp_path, 2 * MIB, seed=3, count=30)
    write_overlay(tmp_path / "one", tmp_path / "base", 2 * MIB, extents)
    pieces = []
    for extent in extents:  # the same content, cut and stored otherwise
        for start in range(0, extent.length, 5000):
            piece = extent.clip(extent.address + start, extent.address + min(start + 5000, extent.length))
            copy = tmp_path / f"piece{piece.address}"
            copy.write_bytes(extent.source.read_bytes()[piece.offset : piece.offset + piece.length])
            pieces.append(Extent(piece.address, piece.length, copy, 0))
    (tmp_path / "two").write_bytes(b"left over" * MIB)
    write_overlay(tmp_path / "two", tmp_path / "base", 2 * MIB, ExtentMap(reversed(pieces)))
    assert (tmp_path / "one").read_bytes() == (tmp_path / "two").read_bytes()


def test_nothing_of_the_base_beyond_the_disk_gets_in(tmp_path: Path) -> None:
    make_sources(tmp_path, 2 * MIB)
    extents = ExtentMap([Extent(MIB, 512, tmp_path / "data", 0)])
    write_overlay(tmp_path / "overlay", tmp_path / "base", MIB + 512, extents)
    last = (tmp_path / "overlay").read_bytes()[-CLUSTER:]
    assert last == (tmp_path / "data").read_bytes()[:512].ljust(CLUSTER, b"\0")


def test_header_golden_bytes(tmp_path: Path) -> None:
    make_sources(tmp_path, MIB)
    write_overlay(tmp_path / "overlay", Path("base"), MIB, ExtentMap([Extent(CLUSTER, 3, tmp_path / "data", 0)]))
    data = (tmp_path / "overlay").read_bytes()
    assert len(data) == 6 * CLUSTER  # header, refcount table, refcount block, L1, L2, one cluster
    assert data[:104] == b"QFI\xfb" + struct.pack(
        ">IQIIQIIQQIIQQQQII", 3, 128, 4, 16, MIB, 0, 1, 3 * CLUSTER, CLUSTER, 1, 0, 0, 0, 0, 0, 4, 104
    )
    assert data[104:136] == bytes.fromhex("e2792aca00000003") + b"raw" + bytes(5) + bytes(8) + b"base" + bytes(4)
    assert data[2 * CLUSTER : 2 * CLUSTER + 14] == b"\0\1" * 6 + b"\0\0"
    assert data[3 * CLUSTER : 3 * CLUSTER + 8] == struct.pack(">Q", 1 << 63 | 4 * CLUSTER)
    assert data[4 * CLUSTER : 4 * CLUSTER + 24] == struct.pack(">QQQ", 0, 1 << 63 | 5 * CLUSTER, 0)
    filled = (tmp_path / "data").read_bytes()[:3] + (tmp_path / "base").read_bytes()[CLUSTER + 3 : 2 * CLUSTER]
    assert data[5 * CLUSTER :] == filled


def test_overlays_that_cannot_be(tmp_path: Path) -> None:
    make_sources(tmp_path, MIB)
    beyond = ExtentMap([Extent(1000, 25, tmp_path / "data", 0)])
    for base, size, says in [
        (tmp_path / "base", 1000, "A disk's size must be a multiple of 512 bytes, not 1000."),
        (tmp_path / "base", 1024, "An extent ends at byte 1025 of a disk of 1024 bytes."),
        (Path("x" * 1024), MIB, "The base's name is 1024 bytes long; QEMU takes 1023."),
    ]:
        with pytest.raises(ValueError) as refusal:
            write_overlay(tmp_path / "overlay", base, size, beyond)
        assert str(refusal.value) == says
        assert not (tmp_path / "overlay").exists()
    with pytest.raises(FileNotFoundError):
        write_overlay(tmp_path / "overlay", tmp_path / "nothing", MIB, beyond)
