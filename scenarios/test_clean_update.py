# SPDX-License-Identifier: Apache-2.0
"""An update that nothing disturbs ends on the new version, and the server knows it."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.BLOCKER)
def test_clean_update(lab: Lab) -> None:
    """The new version is installed, started, reported and kept; the old one stays whole beside it."""
    lab.deploy("b")
    lab.claim("new", did="No cut")
    lab.claim_written_once("rootfs-b")
    lab.claim_written_well("rootfs-b")
