# SPDX-License-Identifier: Apache-2.0
"""Images that cannot run: one larger than the slot, and one whose file system ends too early."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.NORMAL)
def test_too_big(lab: Lab) -> None:
    """An image that does not fit is refused before the first byte."""
    lab.deploy("too-big")
    lab.claim_refused("the slot only", did="No cut: larger than the slot")
    lab.claim_untouched("rootfs-b")


@allure.severity(allure.severity_level.NORMAL)
def test_truncated(lab: Lab) -> None:
    """A file system that ends too early cannot be booted, and U-Boot goes back."""
    lab.expect_alarms("kernel-not-loaded", "bad-partition", "read-error", "bad-kernel-image", "uboot-exception")
    lab.deploy("truncated")
    lab.claim_undone("Bootlimit .* exceeded", did="No cut: truncated file system")
