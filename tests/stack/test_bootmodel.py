# SPDX-License-Identifier: Apache-2.0
"""The judge's model of the next boot is held against U-Boot itself, on the board's own card.

A model that names a slot must be right at once: U-Boot's first start brings up that slot's kernel, with that slot as
its root file system and nothing else said to it.  A model that names none must be right, too: no slot is started whole.
What U-Boot does then is its own affair - it starts a kernel with another root file system, stops at its prompt, or
resets for ever - but if it resets until it falls back, then to the slot that the model has as its second.
"""

from __future__ import annotations

from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import product
from pathlib import Path

import pytest

from harness.judge import SLOTS, Environment, NextBoot, choose, next_boot, parse_copy, parse_text
from harness.judge.bootenv import LONG
from harness.judge.bootmodel import WORKED_OUT
from images.catalogue import Catalogue
from tests.stack.environments import Card, environments
from tests.stack.witness import Start, board_with_witnesses, power_on

pytestmark = [pytest.mark.stack, pytest.mark.timeout(900)]
AT_LEAST = 300
AT_A_TIME = 2
PARTITION = {"a": "1", "b": "2"}


@pytest.fixture(scope="module")
def board(tmp_path_factory: pytest.TempPathFactory) -> Path:
    image = tmp_path_factory.mktemp("witnesses") / "board.img"
    board_with_witnesses(image, image.parent)
    return image


def test_uboot_boots_what_the_model_says(catalogue: Catalogue, board: Path) -> None:
    uboot, defaults = catalogue.uboot(), parse_text(catalogue.default_environment())
    cards = environments(defaults)
    assert len(cards) >= AT_LEAST

    with ThreadPoolExecutor(AT_A_TIME) as pool:
        starts = list(pool.map(lambda card: power_on(uboot, board, card.copies, defaults), cards))
    wrong = [
        f"{card.says}: {says}"
        for card, start in zip(cards, starts, strict=True)
        for says in disagreements(environment(card, defaults), defaults, start)
    ]
    assert not wrong, "\n".join([f"{len(wrong)} disagreements on {len(cards)} cards:", *wrong])
    # Each slot and none, at once and after resets: nothing above holds because it was never seen.
    assert {(start.slot, start.starts > 1) for start in starts} == set(product((*SLOTS, None), (False, True)))


def environment(card: Card, defaults: Mapping[str, str]) -> Environment:
    copies = tuple(parse_copy(copy) for copy in card.copies)
    return Environment(copies, choose(copies), defaults)


def disagreements(env: Environment, defaults: Mapping[str, str], start: Start) -> list[str]:
    """In what U-Boot did something other than the model said."""
    boot = next_boot(env, defaults)
    at_first = start.slot if start.starts == 1 else None
    wrong = []
    if boot.slot != at_first:
        wrong.append(f"the model says {boot}, U-Boot does {start}")
    if start.starts > 1 and start.kernel and start.slot != boot.second:
        wrong.append(f"the model has {boot.second} as its second, U-Boot does {start}")
    if start.starts == 1:
        expected = left_behind(env, boot)
        left = {name: start.card.variables.get(name) for name in expected}
        wrong += [] if left == expected else [f"the card should hold {expected}, not {left}"]
    return wrong


def left_behind(env: Environment, boot: NextBoot) -> dict[str, str | None]:
    """What the card is to hold once U-Boot has made up its mind; off trial, the boot count is of no meaning."""
    left = {name: env.variables.get(name) for name in sorted(WORKED_OUT - {"bootcount"})}
    if env.upgrade_available:
        left["bootcount"] = str((env.bootcount + 1) % LONG)
    if env.upgrade_available and not boot.trial:  # it falls back
        part = PARTITION[boot.slot] if boot.slot else None
        left.update(mender_boot_part=part, mender_boot_part_hex=part, upgrade_available="0")
    return left
