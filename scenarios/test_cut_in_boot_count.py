# SPDX-License-Identifier: Apache-2.0
"""Power fails on the first boot of the new version: inside U-Boot's own write of the boot count, and after it."""

import allure
import pytest

from harness.faults.power import Moment, console, mark
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_in_boot_count(lab: Lab) -> None:
    """The copy from before the boot is still good, so the new version gets its try."""
    lab.deploy("b")
    lab.cut_inside_env_write(after="reboot", says="Cut inside U-Boot's write of the boot count")
    lab.power_on()
    lab.claim("new")


@allure.severity(allure.severity_level.CRITICAL)
@pytest.mark.parametrize(
    ("moment", "says"),
    [
        pytest.param(console("Starting kernel"), "Cut as the new kernel starts", id="kernel"),
        pytest.param(mark("reboot", "daemon.ready"), "Cut once the new updater runs", id="updater"),
    ],
)
def test_cut_after_boot_count(lab: Lab, moment: Moment, says: str) -> None:
    """The one try that Mender's boot limit allows has been counted: the old version comes back."""
    lab.deploy("b")
    lab.cut_power(moment, lose="unflushed", says=says)
    lab.power_on()
    lab.claim("old")
