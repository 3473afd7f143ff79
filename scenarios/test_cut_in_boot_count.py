# SPDX-License-Identifier: Apache-2.0
"""Power fails inside U-Boot's own write of the boot count, on the first boot of the new version."""

import allure

from harness.faults.power import writes
from harness.lab import Lab

TEXT_SECTORS = 3


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_in_boot_count(lab: Lab) -> None:
    """The copy from before the boot is still good, so the new version gets its try."""
    lab.deploy("b")
    lab.cut_power(
        writes(lab.random.randint(1, TEXT_SECTORS), to="card", after="reboot"),
        tear=True,
        says="Cut inside U-Boot's write of the boot count",
    )
    lab.power_on()
    lab.claim("new")
