# SPDX-License-Identifier: Apache-2.0
"""A recording made by hand on the small board: an update to B, with every kind of write that a real one has."""

import hashlib
import json
import struct
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path

from harness.explore.recording import KEY, LOG, MEDIA, SIGNING_KEY, UBOOT, About, Heard, Recording
from harness.judge import KnownImage, ServerRecord, encode_copy, parse_text
from harness.lab.device import keepsakes
from harness.storage import DiskView, ExtentMap
from images.catalogue import DEFAULT_ENVIRONMENT
from images.layout import SECTOR
from tests.unit.small_board import LAYOUT, make_image
from tests.unit.write_logs import FLUSH, flag, step, write, write_log

SEED = 1
PIECE = 64 * 1024
MARKS = LAYOUT.marks.start // SECTOR
DEFAULTS = parse_text(DEFAULT_ENVIRONMENT.read_text())
CANARY = {"mender_saveenv_canary": "1"}
PLACE = 128 * 1024
STORE = "mender/bootproof-store"


def store(state: str | None, number: int) -> bytes:
    """The updater's file, with the record in its first place."""
    update = {"state": state, "progress": {}, "outcome": ""} if state else None
    record = json.dumps({"provides": {"artifact_name": "release-a"}, "update": update}).encode()
    body = struct.pack("<IQ", len(record), number) + record
    return (struct.pack("<8sIIQ", b"bootprf1", zlib.crc32(body), len(record), number) + record).ljust(
        2 * 128 * 1024, b"\0"
    )


def image(letter: bytes) -> bytes:
    """What a slot holds, whole."""
    size = LAYOUT.partition("rootfs-a").size
    return letter * (size // 2) + bytes(size // 2)


def environment(slot: int, trial: bool, flag: int) -> bytes:
    changed = {"mender_boot_part": str(slot), "mender_boot_part_hex": str(slot), "upgrade_available": str(int(trial))}
    return encode_copy({**DEFAULTS, **CANARY, **changed}, flag, LAYOUT.env_size)


def make(folder: Path, *, flushes: bool = True, trial: bool = True) -> Recording:
    """Record it; with a fault, if nothing is flushed before the flip, or the flip is no trial."""
    return kept(folder, partial(_entries, flushes=flushes, trial=trial))


def kept(folder: Path, entries: Callable[[Path], Iterable[bytes]]) -> Recording:
    """A recording with these entries in its log; they are made from the media."""
    folder.mkdir()
    (folder / UBOOT).write_bytes(b"a bootloader")
    files = {**keepsakes(SEED), STORE: store("update-store", 1)}
    media = make_image(folder, files).rename(folder / MEDIA)
    with media.open("r+b") as out:
        for place, content in (
            (LAYOUT.partition("rootfs-a").start, image(b"a")),
            (LAYOUT.card.start + LAYOUT.env_offsets[0], environment(1, False, 1)),
        ):
            out.seek(place)
            out.write(content)
    write_log(folder / LOG, *entries(media))
    (folder / KEY).write_text("a key")
    (folder / SIGNING_KEY).write_text("another key")
    for heard in _about().heard:
        (folder / heard.folder).mkdir()
    with Recording.save(folder, _about()).log as log:
        ended = len(log.operations)
    return Recording.save(folder, _about(ended))


def _entries(media: Path, *, flushes: bool, trial: bool) -> Iterator[bytes]:
    slot = LAYOUT.partition("rootfs-b").start // SECTOR
    new = image(b"b")
    yield step(MARKS, "slot.write")
    for at in range(0, len(new), PIECE):
        yield write(slot + at // SECTOR, new[at : at + PIECE])
    if flushes:
        yield flag(FLUSH)
    place = _place_of(media, store("update-store", 1))
    yield write(place // SECTOR, store("update-install", 2)[:4096])
    if flushes:
        yield flag(FLUSH)
    yield step(MARKS, "report.installing", 1)
    yield step(MARKS, "install.flip", 2)
    copy = (LAYOUT.card.start + LAYOUT.env_offsets[1]) // SECTOR
    flipped = environment(2, trial, 2)
    for at in range(0, len(flipped), SECTOR):
        yield write(copy + at // SECTOR, flipped[at : at + SECTOR])
    yield step(MARKS, "install.flipped", 3)
    yield flag(FLUSH)


def _place_of(media: Path, content: bytes) -> int:
    """Where the first block of a file lies in the image."""
    return DiskView(media, ExtentMap()).read(0, LAYOUT.size).index(content[:4096])


def _about(ended: int = 0) -> About:
    return About(
        story="managed",
        seed=SEED,
        planted=None,
        began=0,
        ended=ended,
        seconds=1.0,
        old="a",
        new="b",
        images=tuple(_known(name) for name in ("a", "b")),
        layout=LAYOUT,
        mac="52:54:00:00:00:01",
        port=1,
        device="d",
        deployment="D",
        defaults=DEFAULTS,
        heard=(
            Heard(0, 0, ServerRecord("downloading", ("downloading",)), "server-0"),
            Heard(37, 38, ServerRecord("installing", ("downloading", "installing")), "server-1"),
        ),
        ends="new",
    )


def _known(name: str) -> KnownImage:
    content = image(name.encode())
    return KnownImage(name, len(content), hashlib.sha256(content).hexdigest(), f"release-{name}")
