# SPDX-License-Identifier: Apache-2.0
"""The new version's first process hangs: the watchdog brings the old version back."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_init_hangs(lab: Lab) -> None:
    """Nobody feeds the watchdog that was armed before the slot was entered, so the board is reset."""
    lab.deploy("init-hangs")
    lab.claim_undone("init hangs", "Bootlimit .* exceeded", did="No cut: the new init hangs")
