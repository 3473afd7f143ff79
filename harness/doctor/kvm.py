# SPDX-License-Identifier: Apache-2.0
"""KVM, tried by running a guest of a few bytes: `/dev/kvm` may be there, open, and still run nothing, or crawl."""

from __future__ import annotations

import platform
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from harness.doctor.finding import Finding, State
from images.errors import ImageError
from images.run import run

NAME = "KVM"
DEVICE = Path("/dev/kvm")
GUEST_SECONDS = 20.0  # a nested one may need this long for what an emulated one does at once
SECTOR = 512
# mov al, 0x10; out 0xf4, al; hlt; jmp to the hlt, in a boot sector.  isa-debug-exit ends QEMU with 2 * 0x10 + 1.
X86_CODE = bytes.fromhex("b010 e6f4 f4 ebfd")
X86_STATUS = 33
# mov w0, PSCI SYSTEM_OFF (0x84000008); hvc #0; branch to itself.  QEMU ends with 0.
ARM_CODE = bytes.fromhex("00018052 0080b072 020000d4 00000014")


@dataclass(frozen=True)
class Guest:
    """The smallest guest of one architecture: how QEMU is started with it, and the status it makes QEMU end with."""

    qemu: str
    package: str
    code: bytes
    words: Callable[[Path], tuple[str, ...]]
    status: int

    def runs(self, accelerator: str = "kvm") -> str:
        """Run it; returns what went wrong, empty if nothing did."""
        plain = ("-nodefaults", "-no-user-config", "-display", "none", "-m", "32", "-accel", accelerator)
        with tempfile.TemporaryDirectory(prefix="bootproof-") as scratch:
            image = Path(scratch, "guest.bin")
            image.write_bytes(self.code)
            try:
                run([self.qemu, *plain, *self.words(image)], ok=(self.status,), timeout=GUEST_SECONDS)
            except ImageError as error:
                return str(error.message).strip().splitlines()[-1]
        return ""


def _x86_words(image: Path) -> tuple[str, ...]:
    disk = ("-drive", f"file={str(image).replace(',', ',,')},format=raw,if=floppy", "-boot", "a")
    return ("-M", "pc", *disk, "-device", "isa-debug-exit,iobase=0xf4,iosize=0x01")


def _arm_words(image: Path) -> tuple[str, ...]:
    return ("-M", "virt", "-cpu", "max", "-kernel", str(image))


X86 = Guest(
    "qemu-system-x86_64", "qemu-system-x86", X86_CODE.ljust(SECTOR - 2, b"\0") + b"\x55\xaa", _x86_words, X86_STATUS
)
ARM = Guest("qemu-system-aarch64", "qemu-system-arm", ARM_CODE, _arm_words, 0)
GUESTS = {"x86_64": X86, "aarch64": ARM}


def kvm_guest() -> Finding:
    """Does KVM run a guest?  Nothing here needs it: an arm64 board on another processor is emulated in any case."""
    machine = platform.machine()
    arm = machine == "aarch64"
    note = "Boards run under TCG as they are." if arm else f"Boards are arm64 and run under TCG on {machine} anyway."
    rest = "Nothing has to be done: no board needs it."
    guest = GUESTS.get(machine)
    if guest is None:
        return Finding(NAME, State.NOT_PROBED, f"There is no probe for {machine}. {note}", rest)
    if not DEVICE.exists():
        return Finding(NAME, State.ABSENT, f"{DEVICE} is not there. {note}", rest)
    if not _installed(guest.qemu):
        return Finding(
            NAME, State.NOT_PROBED, f"{guest.qemu} is not installed. {note}", f"Install {guest.package} to know."
        )
    emulated, _ = _timed(guest, "tcg")
    seconds, problem = _timed(guest, "kvm")
    if problem:
        return Finding(NAME, State.ABSENT, f"{DEVICE} is there and runs no guest: {problem} {note}", rest)
    if seconds > emulated:
        says = f"A guest takes {seconds:.1f} s with it and {emulated:.1f} s under emulation, so it is of no use."
        return Finding(NAME, State.ABSENT, f"{says} {note}", rest)
    return Finding(NAME, State.READY, f"A guest was run, faster than under emulation. {note}")


def _timed(guest: Guest, accelerator: str) -> tuple[float, str]:
    """How many seconds the guest took, and what went wrong."""
    began = time.monotonic()
    problem = guest.runs(accelerator)
    return time.monotonic() - began, problem


def _installed(program: str) -> bool:
    try:
        run([program, "--version"], timeout=GUEST_SECONDS)
    except ImageError:
        return False
    return True
