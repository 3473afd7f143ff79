# SPDX-License-Identifier: Apache-2.0
"""Power fails on the first boot of the new version: inside U-Boot's own write of the boot count, and after it."""

import allure

from harness.faults.power import console
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_in_boot_count(lab: Lab) -> None:
    """The copy from before the boot is still good, so the new version gets its try."""
    lab.deploy("b")
    lab.cut_inside_env_write(after="reboot", says="Cut inside U-Boot's write of the boot count")
    lab.power_on()
    lab.claim("new")


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_after_boot_count(lab: Lab) -> None:
    """The one try that the boot limit allows has been counted: the old version comes back."""
    lab.deploy("b")
    lab.cut_power(console("is up on /dev/vda2"), lose="unflushed", says="Cut once the new system has come up")
    lab.power_on()
    lab.claim("old")
