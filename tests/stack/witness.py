# SPDX-License-Identifier: Apache-2.0
"""A board whose slots hold a witness instead of Linux, and what one power-on of it shows.

The witness says which slot its kernel is of and which root file system it was told to use, and powers the machine off
(`witness.S`).  Everything else is the board's own: U-Boot, the command line, the card behind its controller.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from harness.board import BoardSpec, Wiring
from harness.board.argv import command_line
from harness.board.console import Console
from harness.clock import Deadline, poll
from harness.judge import SLOTS, Environment, Slot, read_environment
from harness.process import Process
from harness.storage import CrashPoint, DiskView, Extent, ExtentMap, WriteLog, crash_extents, write_overlay
from images import ext4
from images.disk import copy_into, partition
from images.layout import LAYOUT, MIB
from images.run import run

SOURCE = Path(__file__).with_name("witness.S")
CROSS = "aarch64-linux-gnu-"
SLOT_UUID = "b007b007-0000-4000-8000-00000000000{}"
SLOT_SIZE = 4 * MIB
BANNER = b"\nU-Boot 20"
PROMPT = b"\n=> "
WITNESS = re.compile(rb"\nwitness ([AB]) (?:root=/dev/vda([^\r]*))?\r\n")
SLOT_OF_LETTER: dict[bytes, Slot] = {b"A": "a", b"B": "b"}
ROOT = {"a": "1", "b": "2"}
MOST_STARTS = 4  # of one power-on; a U-Boot that finds nothing to boot on trial resets for ever
SECONDS = 120.0  # for all of them, on a machine that has other things to do


@dataclass(frozen=True)
class Start:
    """What one power-on led to.

    `kernel` is the slot whose kernel was started in the end (None: U-Boot stopped at its prompt, or was still
    resetting), `root` what that kernel's command line says after `root=/dev/vda`, `starts` counts U-Boot's own, and
    `card` is the environment that was left.
    """

    kernel: Slot | None
    root: str
    starts: int
    card: Environment

    @property
    def slot(self) -> Slot | None:
        """The slot that was started whole: kernel and root file system, and no more words behind them."""
        return self.kernel if self.kernel and self.root == ROOT[self.kernel] else None


def assemble(slot: Slot, scratch: Path) -> bytes:
    """The witness of a slot, as an arm64 kernel image."""
    made, image = scratch / f"witness-{slot}.o", scratch / f"witness-{slot}"
    run([f"{CROSS}gcc", "-c", f"-DSLOT='{slot.upper()}'", "-o", made, SOURCE])
    run([f"{CROSS}objcopy", "-O", "binary", made, image])
    return image.read_bytes()


def board_with_witnesses(image: Path, scratch: Path) -> None:
    """Make the media of a board: an empty card, and in each slot nothing but its witness."""
    partition(scratch / "disk", LAYOUT)
    with image.open("wb") as out:
        out.truncate(LAYOUT.size)
    copy_into(scratch / "disk", image, LAYOUT.disk.start)
    for slot in SLOTS:
        boot = scratch / slot / "boot"
        boot.mkdir(parents=True)
        (boot / "vmlinuz").write_bytes(assemble(slot, scratch))
        (boot / "initrd.img").write_bytes(b"no initrd\n")
        made, uuid = scratch / f"{slot}.ext4", SLOT_UUID.format(slot)
        ext4.make(boot.parent, made, size=SLOT_SIZE, uuid=uuid, label=f"rootfs-{slot}", journal=False)
        copy_into(made, image, LAYOUT.partition(f"rootfs-{slot}").start)


def power_on(uboot: Path, base: Path, copies: Sequence[bytes], defaults: Mapping[str, str]) -> Start:
    """Switch a board on whose card holds these copies of the environment, and wait for where that leads."""
    with tempfile.TemporaryDirectory(prefix="bootproof-") as name:
        folder = Path(name)
        card = folder / "copies"
        card.write_bytes(b"".join(copies))
        places = [LAYOUT.card.start + offset for offset in LAYOUT.env_offsets]
        written = ExtentMap(
            Extent(place, LAYOUT.env_size, card, number * LAYOUT.env_size) for number, place in enumerate(places)
        )
        wiring = Wiring(folder / "disk", folder / "log", folder / "monitor", folder / "console")
        write_overlay(wiring.overlay, base, LAYOUT.size, written)
        wiring.log.touch()
        said = _console_of(command_line(BoardSpec(uboot), wiring), folder)
        with WriteLog(wiring.log) as log:
            log.poll()
            left = crash_extents(log, CrashPoint(len(log.operations), frozenset()), LAYOUT).over(written)
            environment = read_environment(DiskView(base, left), LAYOUT, defaults)
    witness = WITNESS.search(said)
    kernel = SLOT_OF_LETTER[witness[1]] if witness else None
    root = (witness[2] or b"").decode(errors="replace") if witness else ""
    return Start(kernel, root, said.count(BANNER), environment)


def _console_of(argv: Sequence[str], folder: Path) -> bytes:
    """All that a machine says until it powers itself off, or shows that it never will."""
    machine = Process(argv, stderr=folder / "qemu.log")
    try:
        console = Console(folder / "console", folder / "console.log", Deadline(SECONDS))
        try:
            over = poll(lambda: not machine.running or _stuck(console.text), Deadline(SECONDS), every=0.01)
        finally:
            machine.kill()
            console.close()
        said = console.text
        assert over, f"U-Boot came nowhere: {said[-1000:].decode(errors='replace')}"
        assert machine.ended_well or _stuck(said), f"QEMU failed: {machine.said()}"
        return said
    finally:
        machine.kill()


def _stuck(said: bytes) -> bool:
    """U-Boot waits for somebody to type, or resets again and again."""
    return PROMPT in said or said.count(BANNER) > MOST_STARTS
