# SPDX-License-Identifier: Apache-2.0
"""An update that is committed is never reported as failed, whenever the power fails afterwards."""

import allure

from harness.faults.power import mark
from harness.lab import Lab


@allure.severity(allure.severity_level.BLOCKER)
def test_kept_is_kept(lab: Lab) -> None:
    """Neither a cut during the clean-up nor one while the last report is retried turns success into failure."""
    lab.deploy("b")
    lab.cut_power(mark("state.report"), lose="nothing", says="Cut after the clean-up, before the report is stored")
    lab.power_on()
    lab.claim("new")

    lab.deploy("c")
    with lab.at(mark("state.report")):
        lab.break_line()
    lab.cut_power(mark("report.success"), lose="nothing", says="Cut while the success is reported in vain")
    lab.heal_network()
    lab.power_on()
    lab.claim("new")
