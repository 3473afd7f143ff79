# SPDX-License-Identifier: Apache-2.0
"""U-Boot's environment is read as U-Boot reads it, and damage is never believed."""

from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from harness.judge.bootenv import (
    Environment,
    EnvironmentCopy,
    choose,
    encode_copy,
    number,
    parse_copy,
    parse_text,
)

SIZE = 512
GOLDEN = bytes.fromhex("6ae0b20007") + b"bootcount=1\0mender_boot_part=2\0\0".ljust(59, b"\0")
LETTERS = st.characters(blacklist_characters="\0", blacklist_categories=("Cs",))
NAMES = st.text(st.sampled_from("abcdefghijklmnopqrstuvwxyz_0123456789."), min_size=1, max_size=12)
VARIABLES = st.dictionaries(NAMES, st.text(LETTERS, min_size=1, max_size=12), max_size=6)


def copy_of(area: bytes, flag: int = 1) -> bytes:
    """A redundant copy around any area, with its checksum right."""
    return zlib.crc32(area).to_bytes(4, "little") + bytes([flag]) + area


def test_a_copy_is_checksum_flag_and_entries() -> None:
    assert encode_copy({"mender_boot_part": "2", "bootcount": "1"}, 7, 64) == GOLDEN
    assert parse_copy(GOLDEN) == EnvironmentCopy(True, 7, {"bootcount": "1", "mender_boot_part": "2"})


def test_a_single_copy_has_no_flag() -> None:
    data = encode_copy({"a": "1"}, None, 64)

    assert data[4:8] == b"a=1\0"
    assert parse_copy(data, redundant=False) == EnvironmentCopy(True, 0, {"a": "1"})
    assert not parse_copy(data).valid


@given(VARIABLES, st.integers(0, 255))
@settings(deadline=None)
def test_what_is_encoded_is_read_back(variables: dict[str, str], flag: int) -> None:
    data = encode_copy(variables, flag, SIZE)

    assert len(data) == SIZE
    assert parse_copy(data) == EnvironmentCopy(True, flag, variables)


@given(st.integers(0, SIZE - 1), st.integers(1, 255))
@settings(deadline=None)
def test_any_corrupted_byte_but_the_flag_makes_a_copy_invalid(place: int, change: int) -> None:
    data = bytearray(encode_copy({"bootcmd": "run it", "mender_boot_part": "1"}, 3, SIZE))
    data[place] ^= change
    copy = parse_copy(bytes(data))

    if place == 4:  # outside the checksum: U-Boot believes it
        assert (copy.valid, copy.flag) == (True, 3 ^ change)
    else:
        assert not copy.valid
        assert copy.variables == {}


@pytest.mark.parametrize("data", [b"", b"\0" * 5, b"\0" * SIZE, b"\xff" * SIZE, GOLDEN[:-1]])
def test_what_is_no_copy_is_invalid(data: bytes) -> None:
    assert not parse_copy(data).valid


@given(st.binary(max_size=200))
def test_reading_never_fails(area: bytes) -> None:
    assert parse_copy(copy_of(area)).valid == bool(area)


@pytest.mark.parametrize(
    ("area", "variables"),
    [
        (b"a=1\0b=2\0\0c=3\0\0", {"a": "1", "b": "2"}),  # what follows the end is left alone
        (b"a=1\0a=2\0\0", {"a": "2"}),
        (b"a=1\0a=\0\0", {}),
        (b"a=1\0a\0\0", {}),
        (b"a=x=y\0\0", {"a": "x=y"}),
        (b" \ta=1\0\0", {"a": "1"}),
        (b"#a=1\0b=2\0\0", {"b": "2"}),
        (rb"a=1\;2" + b"\0\0", {"a": "1;2"}),
        (rb"a=1\\2" + b"\0\0", {"a": "1\\2"}),
        (b"a=1\0=2\0b=3\0\0", {}),  # U-Boot refuses the import
        (b"a=1", {"a": "1"}),
    ],
)
def test_entries_are_read_as_uboot_reads_them(area: bytes, variables: dict[str, str]) -> None:
    assert parse_copy(copy_of(area)).variables == variables


@pytest.mark.parametrize("name", ["", "a=b", "#a", " a", "a\0"])
def test_names_that_would_not_come_back_are_refused(name: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        encode_copy({name: "1"}, 0, SIZE)


@pytest.mark.parametrize("value", ["", "1\0", "1\0b=2"])
def test_values_that_would_not_come_back_are_refused(value: str) -> None:
    with pytest.raises(ValueError, match="cannot hold"):
        encode_copy({"a": value}, 0, SIZE)


def test_the_entries_and_their_end_must_fit() -> None:
    encode_copy({"a": "1" * 55}, 0, 64)
    with pytest.raises(ValueError, match="do not fit"):
        encode_copy({"a": "1" * 56}, 0, 64)


@pytest.mark.parametrize(("first", "second", "index"), [(True, True, 1), (True, False, 0), (False, True, 1)])
def test_only_valid_copies_are_chosen(first: bool, second: bool, index: int) -> None:
    assert choose([EnvironmentCopy(first, 4), EnvironmentCopy(second, 5)]) == index


def test_without_a_valid_copy_none_is_chosen() -> None:
    assert choose([EnvironmentCopy(False, 4), EnvironmentCopy(False, 5)]) is None
    assert choose([EnvironmentCopy(False, 4)]) is None


@pytest.mark.parametrize("flag", range(256))
def test_the_next_flag_is_newer_also_over_the_wrap(flag: int) -> None:
    older, newer = EnvironmentCopy(True, flag), EnvironmentCopy(True, (flag + 1) % 256)

    assert choose([older, newer]) == 1
    assert choose([newer, older]) == 0


@pytest.mark.parametrize(("flags", "index"), [((7, 7), 0), ((0, 0xFE), 1), ((1, 0xFF), 1), ((9, 2), 0)])
def test_only_the_wrap_itself_turns_the_order_round(flags: tuple[int, int], index: int) -> None:
    assert choose([EnvironmentCopy(True, flag) for flag in flags]) == index


@pytest.mark.parametrize("count", [0, 3])
def test_more_or_fewer_copies_are_refused(count: int) -> None:
    with pytest.raises(ValueError, match="one or two"):
        choose([EnvironmentCopy(True, 0)] * count)


def test_the_active_copy_speaks_for_the_environment() -> None:
    old = EnvironmentCopy(True, 1, {"mender_boot_part": "1"})
    new = EnvironmentCopy(
        True, 2, {"mender_boot_part": "2", "upgrade_available": "1", "bootcount": "3", "bootlimit": "4"}
    )
    env = Environment((old, new), 1)

    assert (env.slot, env.upgrade_available, env.bootcount, env.bootlimit) == ("b", True, 3, 4)


def test_without_a_valid_copy_the_compiled_default_speaks() -> None:
    broken = EnvironmentCopy(False, 0)

    assert Environment((broken, broken), None, {"mender_boot_part": "1"}).slot == "a"
    assert Environment((broken, broken), None).slot is None
    assert Environment((broken, broken), None, {"mender_boot_part": "3"}).slot is None


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("12", 12),
        ("010", 10),
        ("1x", 1),
        ("x", 0),
        ("-1", 0),
        (" 1", 0),
        ("²", 0),
        ("0x10", 16),
        ("0XfFg", 255),
        ("0x", 0),
        ("x10", 0),
        ("18446744073709551615", 2**64 - 1),
        ("18446744073709551617", 1),
        ("0" * 5000 + "7", 7),
    ],
)
def test_numbers_are_leading_digits(text: str, value: int) -> None:
    assert number({"n": text}, "n") == value
    assert number({}, "n") == 0


@pytest.mark.parametrize(
    ("text", "available"), [("1", True), ("2", True), ("0", False), ("4294967296", False), ("4294967297", True)]
)
def test_whether_an_update_is_on_trial_is_kept_in_32_bits(text: str, available: bool) -> None:
    env = Environment((EnvironmentCopy(True, 1, {"upgrade_available": text}),), 0)

    assert env.upgrade_available == available


@pytest.mark.parametrize(("part", "slot"), [("1", "a"), ("2 \t\n", "b"), (" 1", None), ("01", None), ("3", None)])
def test_a_slot_is_the_number_of_its_partition(part: str, slot: str | None) -> None:
    assert Environment((EnvironmentCopy(True, 1, {"mender_boot_part": part}),), 0).slot == slot


def test_what_cannot_be_imported_leaves_the_compiled_default() -> None:
    """Not the other copy, although that one is whole."""
    copies = parse_copy(copy_of(b"mender_boot_part=2\0\0", 1)), parse_copy(copy_of(b"mender_boot_part=2\0=3\0\0", 2))
    env = Environment(copies, choose(copies), {"mender_boot_part": "1"})

    assert [copy.refused for copy in copies] == [False, True]
    assert (env.active, env.slot) == (1, "a")


def test_the_compiled_default_is_read_from_its_source() -> None:
    assert parse_text("# c=1\na=1\nb=test x=y; run a\n\n") == {"a": "1", "b": "test x=y; run a"}
