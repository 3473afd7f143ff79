# SPDX-License-Identifier: Apache-2.0
"""Faults around the bootloader's environment: the flip, the trial, the commit, the way back."""

from __future__ import annotations

from typing import Final

from images.planted.fault import Change, Mutant

FLIP: Final = '        self._write({"upgrade_available": "1", **_part(target), "bootcount": "0", **limit})\n'
RESTORE: Final = '        self._write({**_part(origin), "upgrade_available": "0"})\n'
SCRIPT: Final = '        script = "".join(f"{name}={value}\\n" for name, value in changes.items())\n'
IMPORTS: Final = Change(
    "bootenv.py",
    "from collections.abc import Mapping\n",
    "import os\nimport zlib\nfrom collections.abc import Mapping\n",
)
COMMIT: Final = '        self._write({"upgrade_available": "0"})\n'
# Once in the life of a board, long before its first update.
FIRST_LOOK: Final = "            self.store.save(replace(device, slot=running))\n"
COMMIT_METHOD: Final = "    def commit(self) -> None:\n        "
# The counter of the copies as after some 250 writes: the last one took it from 255 to 0.
AGE: Final = (
    "    def age(self) -> None:\n"
    "        self._runner.run(['fw_setenv', '-s', '-'], stdin='upgrade_available=1\\nbootcount=1\\n')\n"
    "        self._runner.run(['fw_setenv', '-s', '-'], stdin='upgrade_available=0\\n')\n"
    "        card, places = os.open('/dev/mmcblk0', os.O_RDWR), (0x400000, 0x800000)\n"
    "        flags = [os.pread(card, 5, place)[4] for place in places]\n"
    "        for flag, place in zip(flags, places):\n"
    "            os.pwrite(card, b'\\0' if flag == max(flags) else b'\\xff', place + 4)\n"
    "        os.fsync(card)\n"
    "        os.close(card)\n"
    "\n"
)


def _own_writer(newest: str, then: str) -> str:
    """In the place of fw_setenv: `newest` says which copy that is, and `then` what becomes of what was written."""
    return (
        "        variables = {**self._variables(), **changes}\n"
        "        text = ''.join(f'{name}={value}\\0' for name, value in sorted(variables.items()))\n"
        "        area = text.encode().ljust(0x10000 - 5, b'\\0')\n"
        "        card, places = os.open('/dev/mmcblk0', os.O_RDWR), (0x400000, 0x800000)\n"
        "        flags = [os.pread(card, 5, place)[4] for place in places]\n"
        f"        newest = {newest}\n"
        "        head = zlib.crc32(area).to_bytes(4, 'little') + bytes([(flags[newest] + 1) % 256])\n"
        "        os.pwrite(card, head + area, places[1 - newest])\n"
        f"{then}"
        "        return\n"
    )


FAULTS: Final = (
    Mutant(
        "two-step-flip",
        "the flip is made in two environment writes",
        caught_by="test_cut_inside_flip.py::test_cut_inside_flip_whole",
        rule="commit",
        changes=(
            Change(
                "bootenv.py",
                FLIP,
                "        self._write(_part(target))\n"
                '        self._write({"upgrade_available": "1", "bootcount": "0", **limit})\n',
            ),
        ),
    ),
    Mutant(
        "trial-before-flip",
        "the flip is made in two environment writes, and the trial begins with the first, while the old slot is named",
        changes=(
            Change(
                "bootenv.py",
                FLIP,
                '        self._write({"upgrade_available": "1", "bootcount": "0", **limit})\n'
                "        self._write(_part(target))\n",
            ),
        ),
    ),
    Mutant(
        "rollback-in-two-writes",
        "the way back is made in two environment writes: the trial is ended, then the old slot is named",
        explored="rollback",
        changes=(
            Change(
                "bootenv.py",
                RESTORE,
                '        self._write({"upgrade_available": "0"})\n        self._write(_part(origin))\n',
            ),
        ),
    ),
    Mutant(
        "environment-erased",
        "both copies of the environment are erased, as flash is, before the new one is written",
        changes=(
            Change(
                "bootenv.py",
                SCRIPT,
                "        changes = {**self._variables(), **changes}\n"
                "        for place in (0x400000, 0x800000):\n"
                '            with open("/dev/mmcblk0", "r+b", buffering=0) as card:\n'
                "                card.seek(place)\n"
                '                card.write(b"\\xff" * 0x10000)\n' + SCRIPT,
            ),
        ),
    ),
    Mutant(
        "counter-wraps",
        "where the counter has wrapped from 255 to 0, the copy with the greater counter is taken for the newer one",
        changes=(
            IMPORTS,
            Change("bootenv.py", COMMIT_METHOD + '"""Keep', AGE + COMMIT_METHOD + '"""Keep'),
            Change(
                "bootenv.py",
                SCRIPT,
                _own_writer(
                    newest="flags.index(max(flags))",
                    then="        os.fsync(card)\n        os.close(card)\n",
                )
                + SCRIPT,
            ),
            Change("keeper.py", FIRST_LOOK, FIRST_LOOK + "            self.env.age()\n"),
        ),
    ),
    Mutant(
        "commit-not-flushed",
        "the environment is written to the page cache, and flushed only when the update is over",
        changes=(
            IMPORTS,
            Change(
                "bootenv.py",
                SCRIPT,
                _own_writer(
                    newest="0 if (flags[0] - flags[1]) % 256 < 128 else 1",
                    # Closing a device that nobody else has open would flush it.
                    then="        self.card = card\n",
                )
                + SCRIPT,
            ),
            Change("machine/engine.py", "import logging\n", "import logging\nimport os\n"),
            Change(
                "machine/engine.py",
                '        self._marks.put("idle")\n',
                '        os.sync()\n        self._marks.put("idle")\n',
            ),
        ),
    ),
    Mutant(
        "trial-without-a-limit",
        "the flip sets no limit to the starts of a trial, so the bootloader ignores its boot count",
        changes=(
            Change(
                "bootenv.py",
                '{"bootlimit": str(self._boot_limit)} if self._limited() != self._boot_limit else {}',
                '{"bootlimit": "0"}',
            ),
        ),
    ),
    Mutant(
        "count-left-over",
        "the boot count is set to zero by the commit and not by the flip, so a trial that failed leaves it used up",
        changes=(
            Change("bootenv.py", FLIP, FLIP.replace('"bootcount": "0", ', "")),
            Change("bootenv.py", COMMIT, COMMIT.replace("}", ', "bootcount": "0"}')),
            Change("keeper.py", FIRST_LOOK, FIRST_LOOK + '            self.env._write({"bootcount": "0"})\n'),
        ),
    ),
    Mutant(
        "back-to-the-other-slot",
        "the way back is to the slot that does not run, whichever that is, and nobody compares it with the one kept",
        changes=(
            Change(
                "install/rootfs.py",
                "        state = self.env.read()\n"
                "        if self.update.origin and (state.upgrade_available or state.active != self.update.origin):\n",
                "        if self.update.origin:\n",
            ),
            Change(
                "install/rootfs.py",
                "            self.env.restore(self.update.origin)\n",
                "            self.env.restore(OTHER[self.slots.running()])\n",
            ),
            Change(
                "install/rootfs.py",
                "self._found(trial=False, slot=self.update.origin)",
                "self._found(trial=False, slot=self.slots.running())",
            ),
            Change("keeper.py", "            self._go_back(device, running)\n", "            pass\n"),
        ),
    ),
)
