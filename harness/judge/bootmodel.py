# SPDX-License-Identifier: Apache-2.0
"""What U-Boot will boot next, worked out from its environment alone.

Owns the meaning of the default environment's scripts together with U-Boot's boot counter.  Refuses to guess: an
environment whose scripts, or what these use, are others than the compiled ones, whose partition U-Boot's shell takes
apart, or that names no slot, boots nothing that is known.  It is held against real U-Boot by
tests/stack/test_bootmodel.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace

from harness.judge.bootenv import INT, LONG, SHELL_BLANKS, Environment, Slot, slot_named

# What an update changes, and what this model works out.  Everything else must be what was compiled in.
WORKED_OUT = frozenset({"mender_boot_part", "mender_boot_part_hex", "upgrade_available", "bootcount", "bootlimit"})
# Quotes, and words after the first: what the shell makes of these is not worked out.
TAKEN_APART = re.compile(rf"[\"'\\]|[^{SHELL_BLANKS}][{SHELL_BLANKS}]+[^{SHELL_BLANKS}]")
HEXADECIMAL = re.compile(r"(0[xX])?[0-9a-fA-F]+")
# U-Boot's words for it, as nothing on this board's disk is marked bootable, and the numbers it keeps for them.
FIRST_PARTITION = ("", "auto", INT - 2, INT - 1)


@dataclass(frozen=True)
class NextBoot:
    """The slot of the next boot (None if none is known), and `second`: the one that follows once its trial failed.

    Out of a trial nothing follows, and `second` is None.
    """

    slot: Slot | None
    trial: bool
    why: str
    second: Slot | None = None


def next_boot(env: Environment, defaults: Mapping[str, str]) -> NextBoot:
    """What a power-on with this environment on the card boots; `defaults` is what was compiled into U-Boot."""
    env = replace(env, defaults=defaults)
    for name, value in defaults.items():
        if name not in WORKED_OUT and env.variables.get(name) != value:
            return NextBoot(None, False, f"The environment's {name} is not the one that U-Boot was built with.")
    part = env.variables.get("mender_boot_part", "")
    if TAKEN_APART.search(part):
        return NextBoot(None, False, f"Partition {part!r} is not one plain word to U-Boot's shell.")
    source = _source(env)
    if not env.upgrade_available:
        return _boot(env.variables, False, f"{source} names {{slot}}, with no update on trial.")
    count, limit = (env.bootcount + 1) % LONG, env.bootlimit
    if limit and count > limit:
        return _boot(_swapped(env.variables), False, f"Boot {count} exceeds the limit of {limit}: back to {{slot}}.")
    second = _boot(_swapped(env.variables), False, "").slot if limit else None
    tries = f"boot {count} of {limit}" if limit else "without a limit"
    return replace(_boot(env.variables, True, f"{source} has {{slot}} on trial, {tries}."), second=second)


def _source(env: Environment) -> str:
    if env.active is None:
        return "No copy of the environment is valid; the compiled default"
    if env.copies[env.active].refused:
        return "The environment cannot be imported; the compiled default"
    return "The environment"


def _swapped(variables: Mapping[str, str]) -> Mapping[str, str]:
    """The variables once mender_altbootcmd has run.

    Its `test` holds also if the partition is empty, because the shell then drops that word.
    """
    part = variables.get("mender_boot_part", "").strip(SHELL_BLANKS)
    other = "b" if part in ("", variables.get("mender_rootfs_a", "")) else "a"
    part, part_hex = variables.get(f"mender_rootfs_{other}", ""), variables.get(f"mender_rootfs_{other}_hex", "")
    swapped = {"mender_boot_part": part, "mender_boot_part_hex": part_hex, "upgrade_available": "0"}
    return {**variables, **swapped}


def _boot(variables: Mapping[str, str], trial: bool, why: str) -> NextBoot:
    """The kernel comes from the hexadecimal number, the root file system from the decimal one: they must agree."""
    part, part_hex = variables.get("mender_boot_part", ""), variables.get("mender_boot_part_hex", "")
    slot = slot_named(part)
    if slot is None:
        return NextBoot(None, trial, f"Partition {part or '(none)'} is no slot.")
    if _partition(part_hex) != int(part):
        says = f"The kernel would come from partition {part_hex or '(none)'}, the root file system from {part}."
        return NextBoot(None, trial, says)
    return NextBoot(slot, trial, why.format(slot=f"slot {slot.upper()}"))


def _partition(part_hex: str) -> int | None:
    """The partition that U-Boot's `load` takes, None if it takes offence; 0 is the whole disk."""
    text = part_hex.rstrip(SHELL_BLANKS)
    named = int(text, 16) % INT if HEXADECIMAL.fullmatch(text) else text
    if named in FIRST_PARTITION:
        return 1
    return named if isinstance(named, int) else None
