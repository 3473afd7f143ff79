# SPDX-License-Identifier: Apache-2.0
"""Power fails before, inside and after the commit's environment write."""

import allure

from harness.faults.power import mark
from harness.lab import Lab


@allure.severity(allure.severity_level.BLOCKER)
def test_cut_before_commit(lab: Lab) -> None:
    """What was not committed is not kept: U-Boot goes back to the old version."""
    lab.deploy("b")
    lab.cut_power(mark("commit.begin"), lose="unflushed", says="Cut before the commit's write")
    lab.power_on()
    lab.claim("old")


@allure.severity(allure.severity_level.BLOCKER)
def test_cut_inside_commit(lab: Lab) -> None:
    """A torn commit has not happened."""
    lab.deploy("b")
    lab.cut_inside_env_write(after="commit.begin", says="Cut inside the commit's write, a sector is torn")
    lab.power_on()
    lab.claim("old")


@allure.severity(allure.severity_level.BLOCKER)
def test_cut_after_commit(lab: Lab) -> None:
    """What was committed stays committed, and is never reported as a failure."""
    lab.deploy("b")
    lab.cut_after_env_write(after="commit.begin", says="Cut right after the commit's last sector")
    lab.power_on()
    lab.claim("new")
