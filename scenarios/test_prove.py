# SPDX-License-Identifier: Apache-2.0
"""The main job: one board loses power at the worst moments, one after the other, and always comes back."""

import allure

from harness.faults.power import mark, writes
from harness.lab import Lab


@allure.severity(allure.severity_level.BLOCKER)
def test_prove(lab: Lab) -> None:
    """Cut while writing, after the flip, inside U-Boot's own write and during the commit; then the update succeeds."""
    lab.deploy("b")
    lab.cut_power(
        writes(lab.random.randint(1, 75), to="passive", after="slot.write"),
        says="Cut while the inactive slot is written",
    )
    lab.power_on()
    lab.claim("new")

    lab.deploy("c")
    lab.cut_power(mark("install.flipped"), lose="unflushed", says="Cut after the boot flag has flipped")
    lab.power_on()
    lab.claim("new")

    lab.deploy("b")
    lab.cut_inside_env_write(after="reboot", says="Cut inside U-Boot's own write")
    lab.power_on()
    lab.claim_on_trial()
    lab.cut_inside_env_write(after="commit.begin", says="Cut during the commit")
    lab.power_on()
    lab.claim("old")

    lab.deploy("b")
    lab.claim("new", did="No cut: the update succeeds")
