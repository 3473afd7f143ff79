# SPDX-License-Identifier: Apache-2.0
"""What U-Boot boots next follows from its environment, under the default environment that the board is built with."""

from __future__ import annotations

from pathlib import Path

import pytest

from harness.judge.bootenv import Environment, EnvironmentCopy, Slot, parse_text
from harness.judge.bootmodel import WORKED_OUT, next_boot

SOURCE = Path(__file__).parents[2] / "images/boards/virt_a64/uboot/default.env"
DEFAULTS = parse_text(SOURCE.read_text())
ON_B = {"mender_boot_part": "2", "mender_boot_part_hex": "2"}


def env(**changes: str) -> Environment:
    kept = {name: value for name, value in (DEFAULTS | changes).items() if value}
    return Environment((EnvironmentCopy(True, 1, kept), EnvironmentCopy(False, 0)), 0)


def on(slot: Slot, **changes: str) -> Environment:
    part = {"a": "1", "b": "2"}[slot]
    return env(mender_boot_part=part, mender_boot_part_hex=part, **changes)


def test_the_model_works_out_what_the_board_has() -> None:
    assert set(DEFAULTS) > WORKED_OUT


@pytest.mark.parametrize("slot", ["a", "b"])
@pytest.mark.parametrize("count", ["", "0", "1", "2", "99"])
def test_out_of_a_trial_the_active_slot_boots_whatever_the_count(slot: Slot, count: str) -> None:
    boot = next_boot(on(slot, bootcount=count), DEFAULTS)

    assert (boot.slot, boot.trial, boot.second) == (slot, False, None)


@pytest.mark.parametrize(
    ("active", "count", "limit", "slot", "trial", "second"),
    [
        ("b", "0", "1", "b", True, "a"),
        ("a", "0", "1", "a", True, "b"),
        ("b", "", "1", "b", True, "a"),
        ("b", "1", "1", "a", False, None),
        ("a", "1", "1", "b", False, None),
        ("b", "2", "1", "a", False, None),
        ("b", "1", "2", "b", True, "a"),
        ("b", "2", "2", "a", False, None),
        ("b", "9", "0", "b", True, None),  # without a limit there is no way back
        ("b", "9", "", "b", True, None),
    ],
)
def test_a_trial_boots_until_the_limit_and_then_falls_back(
    active: Slot, count: str, limit: str, slot: Slot, trial: bool, second: Slot | None
) -> None:
    boot = next_boot(on(active, upgrade_available="1", bootcount=count, bootlimit=limit), DEFAULTS)

    assert (boot.slot, boot.trial, boot.second) == (slot, trial, second)
    assert f"slot {slot.upper()}" in boot.why


def test_without_a_valid_copy_the_compiled_default_boots() -> None:
    broken = EnvironmentCopy(False, 0)
    boot = next_boot(Environment((broken, broken), None), DEFAULTS)

    assert (boot.slot, boot.trial, boot.second) == ("a", False, None)
    assert "No copy" in boot.why


def test_the_compiled_default_boots_if_the_environment_cannot_be_imported() -> None:
    refused = EnvironmentCopy(True, 2, refused=True)
    boot = next_boot(Environment((EnvironmentCopy(True, 1, DEFAULTS | ON_B), refused), 1), DEFAULTS)

    assert (boot.slot, boot.trial, boot.second) == ("a", False, None)
    assert "imported" in boot.why


@pytest.mark.parametrize(
    ("count", "limit", "trial"),
    [
        ("0x1", "3", True),
        ("0x10", "3", False),
        ("5", "0x10", True),
        (" 5", "3", True),
        ("18446744073709551614", "3", False),
        ("18446744073709551615", "3", True),  # the next one is 0
    ],
)
def test_odd_numbers_are_counted_as_uboot_counts_them(count: str, limit: str, trial: bool) -> None:
    boot = next_boot(on("b", upgrade_available="1", bootcount=count, bootlimit=limit), DEFAULTS)

    assert (boot.slot, boot.trial) == ("b" if trial else "a", trial)


@pytest.mark.parametrize(
    ("part", "part_hex", "slot"),
    [
        ("1", "01", "a"),
        ("2", "0x2", "b"),
        ("2", "0X02 ", "b"),
        ("2 ", "2", "b"),
        ("1", "", "a"),
        ("1", "auto", "a"),
        ("1", "100000001", "a"),
        ("1", "fffffffe", "a"),
        ("1", "FFFFFFFF", "a"),
        ("1", "fffffffd", None),
        ("2", "", None),
        ("2", "auto", None),
        ("2", "0X1", None),
        ("1", "0", None),
        ("1", "0x", None),
        ("1", " 1", None),
        ("1", "1 2", None),
        ("1", "-1", None),
        ("1", "1x", None),
    ],
)
def test_the_kernels_partition_is_read_as_uboot_reads_it(part: str, part_hex: str, slot: Slot | None) -> None:
    assert next_boot(env(mender_boot_part=part, mender_boot_part_hex=part_hex), DEFAULTS).slot == slot


@pytest.mark.parametrize(
    ("part", "slot"),
    [("1", "b"), ("1 ", "b"), (" 1", "b"), ("", "b"), (" ", "b"), ("2", "a"), ("01", "a"), ("x", "a"), ("-n", "a")],
)
def test_a_fall_back_is_to_what_the_script_takes_for_the_other_slot(part: str, slot: Slot) -> None:
    trial = {"upgrade_available": "1", "bootcount": "1"}

    assert next_boot(env(mender_boot_part=part, mender_boot_part_hex="1", **trial), DEFAULTS).slot == slot


@pytest.mark.parametrize("part", ["1 quiet", "1\n2", '"1"', "'1'", "\\1"])
@pytest.mark.parametrize("count", ["0", "1"])
def test_what_the_shell_takes_apart_boots_nothing_that_is_known(part: str, count: str) -> None:
    taken_apart = env(mender_boot_part=part, mender_boot_part_hex="1", upgrade_available="1", bootcount=count)
    boot = next_boot(taken_apart, DEFAULTS)

    assert (boot.slot, boot.second) == (None, None)
    assert "shell" in boot.why


def test_kernel_and_root_file_system_must_come_from_one_slot() -> None:
    boot = next_boot(env(mender_boot_part="2", mender_boot_part_hex="1"), DEFAULTS)

    assert boot.slot is None
    assert boot.why == "The kernel would come from partition 1, the root file system from 2."


@pytest.mark.parametrize("part", ["", "3", "02", "x"])
def test_a_partition_that_is_no_slot_boots_nothing(part: str) -> None:
    assert next_boot(env(mender_boot_part=part, mender_boot_part_hex=part), DEFAULTS).slot is None


@pytest.mark.parametrize("name", sorted(set(DEFAULTS) - WORKED_OUT))
@pytest.mark.parametrize("value", ["", "false"])
def test_other_scripts_or_what_they_use_boot_nothing_that_is_known(name: str, value: str) -> None:
    boot = next_boot(env(**{name: value}), DEFAULTS)

    assert boot.slot is None
    assert name in boot.why


def test_a_fall_back_needs_to_know_the_other_slot() -> None:
    trial = {"upgrade_available": "1", "mender_rootfs_a": "", "mender_rootfs_b": ""}

    assert next_boot(on("b", bootcount="1", **trial), DEFAULTS).slot is None
    assert next_boot(on("b", **trial), DEFAULTS).second is None
