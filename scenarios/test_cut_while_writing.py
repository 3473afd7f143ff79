# SPDX-License-Identifier: Apache-2.0
"""Power fails while the inactive slot is being written: the old version runs on, and the server is told."""

import allure

from harness.faults.power import writes
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_cut_while_writing(lab: Lab) -> None:
    """Whatever part of the slot survived, the board is on the old version, and the next update succeeds."""
    lab.deploy("b")
    lab.cut_power(
        writes(lab.random.randint(1, 75), to="passive", after="slot.write"),
        says="Cut while the inactive slot is written",
    )
    lab.power_on()
    lab.claim("old")
    lab.deploy("c")
    lab.claim("new", did="No cut: the next update")
