# SPDX-License-Identifier: Apache-2.0
"""Power fails while the inactive slot is being written: the old version runs, and the update goes on."""

import allure

from harness.faults.power import writes
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_while_writing(lab: Lab) -> None:
    """Whatever part of the slot survived, it is not believed; the update succeeds, and so does the next."""
    lab.deploy("b")
    lab.cut_power(
        writes(lab.random.randint(1, 75), to="passive", after="slot.write"),
        says="Cut while the inactive slot is written",
    )
    lab.power_on()
    lab.claim("new")
    lab.deploy("c")
    lab.claim("new", did="No cut: the next update")
