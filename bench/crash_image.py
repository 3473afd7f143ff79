# SPDX-License-Identifier: Apache-2.0
"""How long a crash image takes: a log the size of one update's, its extent map, and the overlay made from it, beside
copying the whole disk.

Prints one JSON object; times are the best of five, with everything in the page cache.

    python bench/crash_image.py [FOLDER FOR THE FILES]
"""

from __future__ import annotations

import json
import random
import struct
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from harness.storage import DiskView, WriteLog, choose, crash_extents, write_overlay
from images.layout import LAYOUT, SECTOR

KIB = 1024
SLOT_WRITE = 120 * KIB
COPY_BYTES = 4 * KIB * KIB
FLUSH = 1
Entry = tuple[int, int, int]  # address, bytes, flags


def update() -> Iterator[Entry]:
    """What one update writes: the slot in 120 KiB pieces, data in between, and six saves of the environment."""
    chance = random.Random(0)
    slot, data = LAYOUT.partition("rootfs-b"), LAYOUT.partition("data")
    writes = [(address, min(SLOT_WRITE, slot.end - address)) for address in range(slot.start, slot.end, SLOT_WRITE)]
    saves = {len(writes) * save // 5 for save in range(6)}
    for number in range(len(writes) + 1):
        if number in saves:
            start = LAYOUT.card.start + LAYOUT.env_offsets[number % 2]
            yield from ((start + place * SECTOR, SECTOR, 0) for place in range(128))
        if number % 3 == 0:
            yield data.start + 4 * KIB * chance.randrange(2000), 4 * KIB, 0
        if number % 20 == 0:
            yield 0, 0, FLUSH
        if number < len(writes):
            yield *writes[number], 0


def make_log(path: Path) -> None:
    entries = list(update())
    noise = random.Random(1).randbytes(SLOT_WRITE + 4 * KIB)
    with path.open("wb") as out:
        out.write(struct.pack("<QQQI", 0x6A736677736872, 1, len(entries), SECTOR).ljust(SECTOR, b"\0"))
        for number, (address, length, flags) in enumerate(entries):
            out.write(struct.pack("<QQQQ", address // SECTOR, length // SECTOR, flags, 0).ljust(SECTOR, b"\0"))
            out.write(noise[number : number + length])


def best(work: Callable[[], object], times: int = 5) -> float:
    """Seconds of the fastest run."""
    taken = []
    for _ in range(times):
        start = time.perf_counter()
        work()
        taken.append(time.perf_counter() - start)
    return min(taken)


def whole_copy(disk: DiskView, path: Path) -> None:
    """The usual way: a disk of its own, every byte of it, with the writes in their places."""
    with path.open("wb") as out:
        for start in range(0, LAYOUT.size, COPY_BYTES):
            out.write(disk.read(start, min(COPY_BYTES, LAYOUT.size - start)))


def main() -> None:
    with tempfile.TemporaryDirectory(dir=sys.argv[1] if len(sys.argv) > 1 else None) as scratch:
        folder = Path(scratch)
        make_log(folder / "run.log")
        with (folder / "base.img").open("wb") as out:
            out.truncate(LAYOUT.size)
        with WriteLog(folder / "run.log") as log:
            log.finish()
        point = choose(log.operations, len(log.operations), LAYOUT, lose="some", seed=1)
        extents = crash_extents(log, point, LAYOUT)
        overlay, disk = folder / "overlay.qcow2", DiskView(folder / "base.img", extents)
        result = {
            "operations": len(log.operations),
            "extent_map_ms": round(1000 * best(lambda: crash_extents(log, point, LAYOUT)), 1),
            "overlay_s": round(best(lambda: write_overlay(overlay, folder / "base.img", LAYOUT.size, extents)), 3),
            "whole_copy_s": round(best(lambda: whole_copy(disk, folder / "disk"), times=2), 3),
        }
        result["ratio"] = round(result["overlay_s"] / result["whole_copy_s"], 3)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
