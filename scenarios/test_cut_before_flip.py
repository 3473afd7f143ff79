# SPDX-License-Identifier: Apache-2.0
"""Power fails between the last write to the slot and the flip: nothing has been decided yet."""

import allure
import pytest

from harness.faults.power import mark
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
@pytest.mark.parametrize("step", ["slot.written", "slot.flushed", "slot.verified"])
def test_cut_before_flip(lab: Lab, step: str) -> None:
    """However complete the slot is, it is looked at again; then the update goes on."""
    lab.deploy("b")
    lab.cut_power(mark(step), lose="unflushed", says=f"Cut at '{step}', before the flip")
    lab.power_on()
    lab.claim("new")


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_at_the_flip(lab: Lab) -> None:
    """An installation that was begun and not made is undone."""
    lab.deploy("b")
    lab.cut_power(mark("install.flip"), lose="unflushed", says="Cut right before the flip")
    lab.power_on()
    lab.claim("old")
