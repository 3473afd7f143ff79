# SPDX-License-Identifier: Apache-2.0
"""The new version's kernel panics: the boot counter brings the old version back."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_kernel_panics(lab: Lab) -> None:
    """The panic resets the board by itself, and the old version reports the failure."""
    lab.expect_alarms("kernel-panic")
    lab.deploy("kernel-panics")
    lab.claim_undone("Kernel panic", "Bootlimit .* exceeded", did="No cut: the new kernel panics")
