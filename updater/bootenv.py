# SPDX-License-Identifier: Apache-2.0
"""The bootloader's variables, through the tools of libubootenv.

Every change is one call of `fw_setenv`, so one write of one environment copy: a change is seen whole or not at all.
It is read back before it is believed.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

from updater.errors import BootEnvError, BootEnvLost, UpdaterError
from updater.ports import Runner

CANARY = "mender_saveenv_canary"
CHECK_CANARY = "mender_check_saveenv_canary"
PARTITION_OF = {"a": 1, "b": 2}
SLOT_OF = {str(number): slot for slot, number in PARTITION_OF.items()}


@dataclass(frozen=True)
class BootState:
    """What the bootloader will do next: boot `active`, on trial if `upgrade_available`."""

    active: str
    upgrade_available: bool


class BootEnv(Protocol):
    """The bootloader's view of the slots."""

    def read(self) -> BootState: ...
    def flip(self, target: str) -> None: ...
    def commit(self) -> None: ...
    def restore(self, origin: str) -> None: ...
    def initialise(self, slot: str) -> None: ...


class UBootEnv:
    """U-Boot with Mender's variables; `boot_limit` is how often a system on trial may be started.

    Raises (from every method):
        BootEnvLost: its canary is missing (not from `initialise`).
        BootEnvError: the environment cannot be read or written.
    """

    def __init__(self, runner: Runner, boot_limit: int = 1) -> None:
        self._runner, self._boot_limit = runner, boot_limit

    def read(self) -> BootState:
        variables = self._variables()
        part = variables.get("mender_boot_part", "")
        if part not in SLOT_OF:
            raise BootEnvError(f"The bootloader's variable mender_boot_part is '{part}', which is no slot.")
        return BootState(SLOT_OF[part], variables.get("upgrade_available") == "1")

    def flip(self, target: str) -> None:
        """Boot `target` next, on trial: if it is not committed within its starts, the old slot is taken again."""
        limit = {"bootlimit": str(self._boot_limit)} if self._limited() != self._boot_limit else {}
        self._write({"upgrade_available": "1", **_part(target), "bootcount": "0", **limit})

    def commit(self) -> None:
        """Keep the slot that is on trial."""
        if not self.read().upgrade_available:
            raise BootEnvError("Nothing is on trial, so there is nothing to commit.")
        self._write({"upgrade_available": "0"})

    def restore(self, origin: str) -> None:
        """End the trial and boot `origin` from now on."""
        self._write({**_part(origin), "upgrade_available": "0"})

    def initialise(self, slot: str) -> None:
        """Write a whole environment that boots `slot`, into both copies.

        What the bootloader's own defaults are, libubootenv takes from /etc/u-boot-initial-env when it finds no copy.
        """
        changes = {
            **_part(slot), "upgrade_available": "0", "bootcount": "0", "bootlimit": str(self._boot_limit), CANARY: "1",
        }  # fmt: skip
        for _ in range(2):  # each write goes to the copy that is older or damaged
            self._set(changes)
        self._check(changes)

    def _limited(self) -> int:
        limit = self._variables().get("bootlimit", "")
        return int(limit) if limit.isdecimal() else 0

    def _variables(self) -> dict[str, str]:
        try:
            printed = self._runner.run(["fw_printenv"])
        except UpdaterError as error:
            raise BootEnvError(f"The bootloader's environment cannot be read: {error}") from error
        variables = dict(line.split("=", 1) for line in printed.splitlines() if "=" in line)
        if variables.get(CHECK_CANARY) == "1" and variables.get(CANARY) != "1":
            raise BootEnvLost("The bootloader has never saved its environment, or saves it elsewhere (no canary).")
        return variables

    def _write(self, changes: Mapping[str, str]) -> None:
        self._variables()  # never write into an environment that the bootloader does not read
        self._set(changes)
        self._check(changes)

    def _set(self, changes: Mapping[str, str]) -> None:
        script = "".join(f"{name}={value}\n" for name, value in changes.items())
        try:
            self._runner.run(["fw_setenv", "-s", "-"], stdin=script)
        except UpdaterError as error:
            raise BootEnvError(f"The bootloader's environment cannot be written: {error}") from error

    def _check(self, changes: Mapping[str, str]) -> None:
        # libubootenv does not look at what its flush says, so a medium that took nothing goes unnoticed there.
        found = self._variables()
        if any(found.get(name) != value for name, value in changes.items()):
            raise BootEnvError("The bootloader's environment does not hold what was written to it.")


def _part(slot: str) -> dict[str, str]:
    number = PARTITION_OF[slot]
    return {"mender_boot_part": str(number), "mender_boot_part_hex": f"{number:x}"}
