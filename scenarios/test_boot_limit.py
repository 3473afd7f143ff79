# SPDX-License-Identifier: Apache-2.0
"""How often a new system may be started before it is kept is a policy; with Mender's, one power cycle costs it."""

import allure
import pytest

from harness.faults.power import Moment, console, mark
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
@pytest.mark.parametrize(
    ("moment", "says"),
    [
        pytest.param(console("Starting kernel"), "Cut as the new kernel starts", id="kernel"),
        pytest.param(mark("reboot", "daemon.ready"), "Cut once the new updater runs", id="updater"),
        pytest.param(mark("reboot", "state.commit-enter"), "Cut before the commit", id="commit"),
    ],
)
def test_power_cycles_on_trial_need_not_cost_the_update(lab: Lab, moment: Moment, says: str) -> None:
    """With a boot limit of three, the same cut that costs the update under Mender's limit of one costs nothing."""
    lab.configure(Bootproof={"BootLimit": 3})
    lab.deploy("b")
    lab.cut_power(moment, lose="unflushed", says=says)
    lab.power_on()
    lab.claim("new")


@allure.severity(allure.severity_level.CRITICAL)
def test_a_system_that_does_not_come_up_is_still_given_up(lab: Lab) -> None:
    """The policy is a limit, and not a licence: after three starts U-Boot goes back."""
    lab.configure(Bootproof={"BootLimit": 3})
    lab.deploy("kernel-panics")
    lab.expect_alarms("kernel-panic")
    lab.claim_undone("Kernel panic", did="No cut: the new kernel panics three times")
