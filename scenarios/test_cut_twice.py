# SPDX-License-Identifier: Apache-2.0
"""Power fails again while the board recovers from the first cut: what was true after one cut is true after two."""

import allure

from harness.faults.power import mark
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_in_the_commit_after_a_cut_flip(lab: Lab) -> None:
    """The cut after the flip was as good as the reboot, and the commit that followed it stays."""
    lab.deploy("b")
    lab.cut_power(mark("install.flipped"), lose="unflushed", says="Cut after the boot flag has flipped")
    lab.power_on()
    lab.cut_after_env_write(after="commit.begin", says="Cut again, right after the commit's last sector")
    lab.power_on()
    lab.claim("new")


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_in_the_way_back_after_a_cut_commit(lab: Lab) -> None:
    """U-Boot's own way back to the old slot is torn; the next boot takes it again."""
    lab.deploy("b")
    lab.cut_inside_env_write(after="commit.begin", says="Cut inside the commit's write")
    lab.power_on()
    # The first write since power came on counts the boot, the second takes the old slot back.
    lab.cut_inside_env_write(number=2, says="Cut again, inside U-Boot's write of the way back")
    lab.power_on()
    lab.claim("old")
