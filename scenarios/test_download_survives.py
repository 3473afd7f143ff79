# SPDX-License-Identifier: Apache-2.0
"""A download that the power cut short goes on where it was; Mender's begins anew, after it has been called failed."""

import allure

from harness.faults.power import mark
from harness.lab import Lab

CHECKPOINT = "slot.checkpoint"


@allure.severity(allure.severity_level.CRITICAL)
def test_download_survives_power_cuts(lab: Lab) -> None:
    """Two cuts in one download, and it is fetched once: the rest by range, what is durable re-verified."""
    lab.deploy("b")
    first = lab.random.randint(1, 3)
    lab.cut_power(mark(*[CHECKPOINT] * (first + 1)), says=f"Cut after {first} checkpoints of the download")
    lab.power_on()
    again = lab.random.randint(1, 3)
    lab.cut_power(mark("slot.resumed", *[CHECKPOINT] * (again + 1)), says=f"Cut again, {again} checkpoints later")
    lab.power_on()
    lab.claim("new")
    lab.claim_went_on()


@allure.severity(allure.severity_level.NORMAL)
def test_download_as_the_original_does_it(lab: Lab) -> None:
    """Told not to go on with downloads, the updater does as Mender: the deployment has failed, the old system runs."""
    lab.configure(Bootproof={"ResumeDownloads": False})
    lab.deploy("b")
    lab.cut_power(mark("download.begin", "slot.write"), says="Cut in the download, which is not to be resumed")
    lab.power_on()
    lab.claim("old")
