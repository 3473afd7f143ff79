# SPDX-License-Identifier: Apache-2.0
"""Power fails while an application is updated: it is the old one or the new one, and the server knows which."""

import allure
import pytest

from harness.faults.power import mark, writes
from harness.lab import Lab

# Of the writes to the data partition that an installation is made of, as many as there are at least.
WRITES = {"single-file": 16, "directory": 140, "script": 60, "deb": 80}


@allure.severity(allure.severity_level.BLOCKER)
@pytest.mark.parametrize("kind", ["single-file", "directory"])
def test_cut_while_installing(lab: Lab, kind: str) -> None:
    """Wherever the installation is cut, the old one comes back; so it does if its way back is cut, too."""
    lab.deploy_application(kind, "one")
    lab.claim_application("new", did="The first version")

    lab.deploy_application(kind, "two")
    lab.cut_power(
        writes(lab.random.randint(1, WRITES[kind]), to="data", after="state.install-enter"),
        says="Cut inside the installation",
    )
    lab.claim_application_whole()
    lab.power_on()
    lab.claim_application("old")

    lab.deploy_application(kind, "unkept")
    lab.cut_power(
        writes(lab.random.randint(1, 9), to="data", after="state.rollback-enter"),
        says="Cut inside the rollback",
    )
    lab.claim_application_whole()
    lab.power_on()
    lab.claim_application("old")

    lab.deploy_application(kind, "two")
    lab.claim_application("new", did="No cut: the update succeeds")


@allure.severity(allure.severity_level.BLOCKER)
@pytest.mark.parametrize("kind", ["single-file", "directory"])
def test_cut_around_the_commit_of_an_application(lab: Lab, kind: str) -> None:
    """What was installed and not kept is taken back; what was kept is reported as success, and its traces go."""
    lab.deploy_application(kind, "one")
    lab.claim_application("new", did="The first version")

    lab.deploy_application(kind, "two")
    lab.cut_power(mark("state.commit-enter"), lose="unflushed", says="Cut before the commit")
    lab.claim_application_whole()
    lab.power_on()
    lab.claim_application("old")

    lab.deploy_application(kind, "two")
    lab.cut_power(mark("state.after-commit"), lose="unflushed", says="Cut before the commit is stored")
    lab.claim_application_whole()
    lab.power_on()
    lab.claim_application("old")

    lab.deploy_application(kind, "two")
    lab.cut_power(
        writes(lab.random.randint(1, 8), to="data", after="state.cleanup"),
        says="Cut while it is tidied up",
    )
    lab.claim_application_whole()
    lab.power_on()
    lab.claim_application("new")


@allure.severity(allure.severity_level.CRITICAL)
@pytest.mark.parametrize("kind", ["script", "deb"])
def test_cut_without_a_way_back(lab: Lab, kind: str) -> None:
    """Cut in the download nothing has happened; cut later nobody knows, the device says so, and the next succeeds."""
    lab.deploy_application(kind, "one")
    lab.cut_power(writes(lab.random.randint(2, 20), to="data", after="state.download"), says="Cut inside the download")
    lab.power_on()
    lab.claim_application("old")

    lab.deploy_application(kind, "two")
    lab.cut_power(
        writes(lab.random.randint(3, WRITES[kind]), to="data", after="state.install-enter"),
        says="Cut inside the installation",
    )
    lab.power_on()
    lab.claim_application("inconsistent")

    lab.deploy_application(kind, "two")
    lab.claim_application("new", did="No cut: the update succeeds")
