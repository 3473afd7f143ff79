# SPDX-License-Identifier: Apache-2.0
"""Power fails between the last write to the slot and the flip: the old version runs on."""

import allure
import pytest

from harness.faults.power import mark
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
@pytest.mark.parametrize("step", ["slot.written", "slot.flushed", "install.flip"])
def test_cut_before_flip(lab: Lab, step: str) -> None:
    """However complete the slot is, nothing has been decided yet."""
    lab.deploy("b")
    lab.cut_power(mark(step), lose="unflushed", says=f"Cut at '{step}', before the flip")
    lab.power_on()
    lab.claim("old")
