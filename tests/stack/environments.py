# SPDX-License-Identifier: Apache-2.0
"""Cards of every kind that U-Boot may find: what its two copies of the environment hold, whole and damaged."""

from __future__ import annotations

import itertools
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from harness.judge import encode_copy
from images.layout import LAYOUT

SIZE = LAYOUT.env_size
OTHER = {"1": "2", "2": "1"}
HEADER = 5
Variables = Mapping[str, str]
Damage = Callable[[bytes], bytes]

DAMAGES: dict[str, Damage] = {
    "wrong checksum": lambda copy: bytes([copy[0] ^ 1]) + copy[1:],
    "flipped byte": lambda copy: copy[:100] + bytes([copy[100] ^ 0x10]) + copy[101:],
    "flipped last byte": lambda copy: copy[:-1] + b"\1",
    "torn in its middle": lambda copy: copy[:700] + b"\xff" * (SIZE - 700),
    "torn in its checksum": lambda copy: copy[:2] + bytes(SIZE - 2),
    "all zeros": lambda _: bytes(SIZE),
    "all ones": lambda _: b"\xff" * SIZE,
}

ODD_NUMBERS = (
    *("", "01", "08", "0x0", "0x1", "0x2", "0X3", "0x", "0xF", "A", "abc", " 1", "1 ", "\t2", "2\n", "-1", "+1", "1x"),
    *("4294967295", "4294967296", "4294967297", "18446744073709551615", "18446744073709551616", "1" * 5000),
)
ODD_PARTS = ("", " ", "3", "01", "0x1", "A", "1 ", " 1", "2\n", "\t2", "x", "1;", "$a", "-n", "-e", "!", "=")
ODD_PARTS_HEX = (
    *("", " ", "0", "00", "01", "0x1", "0X2", "0x", "a", "ABC", "1 ", " 2", "1 2", "1:2", "1x", "-1", "-", "auto"),
    *("100000001", "ffffffff", "fffffffe", "fffffffd", "10000000000000001"),
)
NUMBERS = st.one_of(
    st.sampled_from(["0", "1", "2", "3"]),
    st.sampled_from(ODD_NUMBERS),
    st.integers(0, 1 << 65).map(str),
    st.text("0129xXaF -", max_size=4),
)
# One word at most, and no quotes: the model refuses what the shell takes apart.
BLANKS = st.sampled_from(["", " ", "\t", "\n"])
WORDS = st.tuples(BLANKS, st.text("0123xaF-;$#", max_size=3), BLANKS).map("".join)
PARTS = st.one_of(st.sampled_from(["1", "2"]), st.sampled_from(ODD_PARTS), WORDS)
PARTS_HEX = st.one_of(st.sampled_from(["1", "2"]), st.sampled_from(ODD_PARTS_HEX), WORDS)


@dataclass(frozen=True)
class Card:
    """A card by what was done to it, and its two copies."""

    says: str
    copies: tuple[bytes, bytes] = field(repr=False)


def environments(defaults: Variables) -> list[Card]:
    """All cards, none twice."""
    makers = (trials, damaged, flagged, unbootable, odd_entries, odd_values, found)
    cards = [card for maker in makers for card in maker(defaults)]
    return list({card.copies: card for card in cards}.values())


def copy(defaults: Variables, changes: Variables, flag: int = 1) -> bytes:
    """A valid copy of the compiled default with changes; an empty value removes a variable."""
    return encode_copy({name: value for name, value in {**defaults, **changes}.items() if value}, flag, SIZE)


def on(part: str) -> dict[str, str]:
    return {"mender_boot_part": part, "mender_boot_part_hex": part}


def trials(defaults: Variables) -> Iterator[Card]:
    """Every state of an update, in the newer copy; the older one names the other slot, or is damaged."""
    damages = itertools.cycle(DAMAGES.items())
    states = itertools.product("12", "01", "0125", "013")
    for number, (part, trial, count, limit) in enumerate(states):
        changes = {**on(part), "upgrade_available": trial, "bootcount": count, "bootlimit": limit}
        changes["mender_saveenv_canary"] = "1" if number % 3 else ""
        newer, older = copy(defaults, changes, 7), copy(defaults, on(OTHER[part]), 6)
        name, damage = next(damages)
        says = f"{part=} {trial=} {count=} {limit=}"
        yield Card(f"{says}, first", (newer, older))
        yield Card(f"{says}, second", (older, newer))
        yield Card(f"{says}, the other one {name}", (newer, damage(older)) if number % 2 else (damage(older), newer))


def damaged(defaults: Variables) -> Iterator[Card]:
    """Damage in the newer copy lets the older one speak; in both, the compiled default."""
    older, newer = copy(defaults, on("1"), 3), copy(defaults, {**on("2"), "upgrade_available": "1"}, 4)
    for name, damage in DAMAGES.items():
        yield Card(f"newer second one {name}", (older, damage(newer)))
        yield Card(f"newer first one {name}", (damage(newer), older))
        yield Card(f"trial first, older one {name}", (newer, damage(older)))
        yield Card(f"both {name}", (damage(newer), damage(newer)))


def flagged(defaults: Variables) -> Iterator[Card]:
    """Which copy is the newer one, by what stands in the flags."""
    for first, second in itertools.product((0, 1, 128, 254, 255), repeat=2):
        copies = copy(defaults, on("1"), first), copy(defaults, {**on("2"), "upgrade_available": "1"}, second)
        yield Card(f"flags {first}, {second}", copies)


def unbootable(defaults: Variables) -> Iterator[Card]:
    """No kernel can be loaded: on trial U-Boot resets, up to the limit if there is one; else it stops."""
    places = (("3", "3"), ("1", "3"), ("2", "0"))
    for (part, part_hex), trial, count, limit in itertools.product(places, ("1", "01"), "01", "013"):
        if trial == "1" or limit == "3":
            changes = {"mender_boot_part": part, "mender_boot_part_hex": part_hex, "upgrade_available": trial}
            changes |= {"bootcount": count, "bootlimit": limit}
            yield Card(f"{changes}", (copy(defaults, changes, 2), copy(defaults, on("2"), 1)))


def odd_entries(defaults: Variables) -> Iterator[Card]:
    """Entries as no tool writes them, behind those of a valid copy."""
    entries = b"".join(f"{name}={value}\0".encode() for name, value in sorted(defaults.items()))
    second = b"mender_boot_part=2\0mender_boot_part_hex=2\0"
    for odd in (
        second,
        b"#" + second,
        b" \t" + second,
        b"\0" + second,
        b"mender_boot_part_hex\0" + second,
        second + b"mender_boot_part_hex\0",
        second + b"mender_boot_part=\0",
        second.replace(b"=", b"=\\"),
        second + b"=3\0",
        second + b"=\0",
    ):
        area = (entries + odd).ljust(SIZE - HEADER, b"\0")
        whole = zlib.crc32(area).to_bytes(4, "little") + b"\2" + area
        yield Card(f"entry {odd!r}", (copy(defaults, {**on("1"), "bootlimit": "3"}, 1), whole))


def odd_values(defaults: Variables) -> Iterator[Card]:
    """Values as no tool writes them, one at a time, each where it decides something."""
    trial = {"upgrade_available": "1", "bootcount": "1"}
    changes: list[dict[str, str]] = []
    for value in ODD_NUMBERS:
        changes.append({**on("2"), **trial, "upgrade_available": value})
        changes.append({**on("2"), **trial, "bootlimit": "3", "bootcount": value})
        changes.append({**on("2"), **trial, "bootlimit": value})
    for value in ODD_PARTS:
        changes.append({"mender_boot_part": value})
        changes.append({"mender_boot_part": value, **trial})
    changes += [{"mender_boot_part": part, "mender_boot_part_hex": value} for value in ODD_PARTS_HEX for part in "12"]
    for one in changes:
        yield Card(f"{one}", (copy(defaults, one, 2), copy(defaults, {}, 1)))


def found(defaults: Variables) -> list[Card]:
    """What hypothesis makes up, for all of these variables together.

    No chance is in it; but hypothesis is fond of numbers that it sees in the modules that are loaded, so that other
    tests beside this one may change a few.
    """
    cards: list[Card] = []
    counted = ("upgrade_available", "bootcount", "bootlimit")
    numbers = st.fixed_dictionaries({}, optional=dict.fromkeys(counted, NUMBERS))
    parts = st.one_of(
        st.sampled_from(["1", "2"]).map(on),
        st.fixed_dictionaries({"mender_boot_part": PARTS, "mender_boot_part_hex": PARTS_HEX}),
    )
    on_trial = st.fixed_dictionaries({}, optional={"upgrade_available": st.just("1"), "bootcount": st.just("1")})

    @settings(derandomize=True, database=None, max_examples=80, phases=[Phase.generate], deadline=None)
    @given(parts, numbers, on_trial)
    def make(part: dict[str, str], number: dict[str, str], trial: dict[str, str]) -> None:
        changes = {**part, **number, **trial, "mender_saveenv_canary": "1"}
        cards.append(Card(f"{changes}", (copy(defaults, changes, 2), copy(defaults, {}, 1))))

    make()
    return cards
