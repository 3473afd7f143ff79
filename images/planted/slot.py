# SPDX-License-Identifier: Apache-2.0
"""Faults around the slot that is written: when it is durable, and what a download that was cut goes on with."""

from __future__ import annotations

from typing import Final

from images.planted.fault import Change, Mutant

OPENED: Final = (
    "        with self.slots.writer(self.update.target, skip_unchanged=self.skip_unchanged) as slot:\n"
    "            write_image(artifact, slot, self.marks, progress)\n"
)
FLIP: Final = "        self.env.flip(self.update.target)\n"
SKIPS: Final = "        if self._skip_unchanged and os.pread("

FAULTS: Final = (
    Mutant(
        "no-flush",
        "the slot is neither flushed, read back nor closed before the flip",
        caught_by="test_cut_inside_flip.py::test_cut_inside_flip_whole",
        rule="slot",
        changes=(
            Change("slots.py", "        os.fsync(self._fd)\n", ""),
            # Reading back and closing push everything to the medium, too.
            Change("install/rootfs.py", "    slot.read_back()\n", ""),
            Change(
                "install/rootfs.py",
                OPENED,
                "        slot = self.slots.writer(self.update.target)\n"
                "        for _ in [1]:\n"
                "            write_image(artifact, slot, self.marks)\n",
            ),
        ),
    ),
    Mutant(
        "flush-after-flip",
        "the slot is flushed and read back only after the flip",
        changes=(
            Change(
                "install/rootfs.py",
                OPENED,
                "        slot = self.slot = self.slots.writer(self.update.target)\n"
                "        for _ in [1]:\n"
                "            write_image(artifact, slot, self.marks)\n",
            ),
            Change("install/rootfs.py", "    slot.flush()\n", ""),
            Change("install/rootfs.py", "    slot.read_back()\n", ""),
            Change("install/rootfs.py", FLIP, FLIP + "        self.slot.flush()\n        self.slot.read_back()\n"),
        ),
    ),
    Mutant(
        "first-block-last",
        "the first block, held back so that nobody takes a part of a system for a whole one, is written after the flip",
        changes=(
            Change(
                "slots.py",
                SKIPS,
                "        if place == 0:\n            self.first = bytes(block)\n            return\n" + SKIPS,
            ),
            Change(
                "slots.py",
                "            if zlib.crc32(block) != wanted:\n",
                "            if number and zlib.crc32(block) != wanted:\n",
            ),
            Change("install/rootfs.py", "import logging\n", "import logging\nimport os\n"),
            Change("install/rootfs.py", OPENED, OPENED + "            self.first = slot.first\n"),
            Change(
                "install/rootfs.py",
                FLIP,
                FLIP + "        with self.slots.writer(self.update.target) as slot:\n"
                "            os.pwrite(slot._fd, self.first, 0)\n"
                "            slot.flush()\n",
            ),
        ),
    ),
    Mutant(
        "flip-before-slot",
        "the flip is made first, and then the slot is written",
        changes=(Change("install/rootfs.py", OPENED, FLIP + OPENED),),
    ),
    Mutant(
        "resumed-block-zeroed",
        "where a download goes on within a block, the part of the block that was there already is written as zeros",
        changes=(Change("slots.py", "            self._block[:rest] = self.content(self.written, rest)\n", ""),),
    ),
    Mutant(
        "partial-slot-accepted",
        "the slot is flushed before the last block that is noted as durable, and what it holds is believed unseen",
        changes=(
            Change(
                "install/rootfs.py",
                "        slot.write(chunk)\n",
                "        slot.flushed()\n        slot.write(chunk)\n",
            ),
            Change(
                "slots.py",
                "        self._sync()\n        return self.written\n",
                "        return self.written\n\n    def flushed(self) -> None:\n        self._sync()\n",
            ),
            Change("install/rootfs.py", "if slot.fingerprint(point.done) != saved.get(FINGERPRINT):", "if False:"),
            Change(
                "artifact/payload.py",
                "        if self._entry.remaining == 0:\n",
                "        if self._entry.remaining == 0 and not self._resumed:\n",
            ),
            Change(
                "artifact/payload.py",
                "        self._hash = hashlib.sha256() if digest is None else digest\n",
                "        self._hash = hashlib.sha256() if digest is None else digest\n"
                "        self._resumed = digest is not None\n",
            ),
        ),
    ),
    Mutant(
        "flip-while-downloading",
        "the flip is made while the record still says download, and a download never asks what is on trial",
        changes=(
            Change(
                "machine/steps.py",
                '    S.INSTALL_ENTER:                "update-install",\n',
                '    S.INSTALL_LEAVE:                "update-install",\n',
            ),
            Change(
                "install/rootfs.py",
                "        if state.upgrade_available:\n            raise InstallRefused(",
                "        if False:\n            raise InstallRefused(",
            ),
        ),
    ),
)
