# SPDX-License-Identifier: Apache-2.0
"""An update that is committed is never reported as failed, whenever the power fails afterwards."""

import allure
import pytest

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


@allure.severity(allure.severity_level.NORMAL)
@pytest.mark.original("failed-in-the-commit")
def test_commit_as_the_original_reports_it(lab: Lab) -> None:
    """Mender's client 3.4, by its documentation: the new system stays, and is reported as failed."""
    lab.deploy("b")
    lab.cut_after_env_write(after="commit.begin", says="Cut right after the commit's last sector")
    lab.power_on()
    with lab.loses("server", "the new system is kept, and reported as failed"):
        lab.claim("new")


@allure.severity(allure.severity_level.NORMAL)
@pytest.mark.original("failed-in-the-clean-up")
def test_clean_up_as_the_original_reports_it(lab: Lab) -> None:
    """Mender's clients, by their documentation: a cut in the clean-up, and a kept update is reported as failed."""
    lab.deploy("b")
    lab.cut_power(mark("state.report"), lose="nothing", says="Cut after the clean-up, before the report is stored")
    lab.power_on()
    with lab.loses("server", "the new system is kept, and reported as failed"):
        lab.claim("new")
