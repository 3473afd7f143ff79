# SPDX-License-Identifier: Apache-2.0
"""The QEMU that boards run on: asked itself, because distributions leave devices and drivers out."""

from __future__ import annotations

import re

from harness.board.argv import QEMU
from harness.doctor.finding import Finding, State
from images.errors import ImageError
from images.run import run

OLDEST = (7, 2)
PACKAGE = "qemu-system-arm"
DEVICES = ("sdhci-pci", "sd-card", "i6300esb", "virtio-blk-pci", "virtio-net-pci")
DRIVER = "blklogwrites"
ASK_SECONDS = 20.0


def version() -> Finding:
    """Is it there, and new enough?"""
    name = "QEMU for boards"
    said = _ask("--version")
    found = re.search(r"version (\d+)\.(\d+)\S*", said)
    if not found:
        return Finding(name, State.MISSING, f"{QEMU} is not there or does not run.", f"Install {PACKAGE}.")
    if (int(found[1]), int(found[2])) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return Finding(
            name, State.MISSING, f"QEMU is {found[0]}, and {wanted} is the oldest that works.", "Use a newer one."
        )
    return Finding(name, State.READY, f"{QEMU} {found[0]}")


def devices() -> Finding:
    """Has it what a board is made of?"""
    there = set(re.findall(r'^name "([^"]+)"', _ask("-M", "virt", "-device", "help"), re.MULTILINE))
    missing = [device for device in DEVICES if device not in there]
    return _judged("QEMU devices", DEVICES, missing)


def block_driver() -> Finding:
    """Can it write the log of all writes and flushes?"""
    there = _ask("-M", "none", "-display", "none", "-drive", "format=help").split()
    return _judged("QEMU write log", (DRIVER,), [] if DRIVER in there else [DRIVER])


def _judged(name: str, wanted: tuple[str, ...], missing: list[str]) -> Finding:
    if missing:
        return Finding(name, State.MISSING, f"This QEMU lacks {', '.join(missing)}.", f"Install Debian's {PACKAGE}.")
    return Finding(name, State.READY, ", ".join(wanted))


def _ask(*words: str) -> str:
    try:
        return run([QEMU, *words], ok=(0, 1), timeout=ASK_SECONDS)
    except ImageError:
        return ""
