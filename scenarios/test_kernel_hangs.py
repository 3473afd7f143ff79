# SPDX-License-Identifier: Apache-2.0
"""The new version's kernel hangs before it does anything: U-Boot's watchdog brings the old version back."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_kernel_hangs(lab: Lab) -> None:
    """No kernel panics, no driver is loaded, and the board is reset all the same."""
    lab.deploy("kernel-hangs")
    lab.claim_undone(
        r"Starting kernel \.\.\.\s+U-Boot 2",  # not a word between the start of the kernel and the next reset
        "Bootlimit .* exceeded",
        did="No cut: the new kernel hangs",
    )
