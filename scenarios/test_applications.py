# SPDX-License-Identifier: Apache-2.0
"""Applications are updated by update modules, without touching the system: they succeed, fail and are rolled back."""

import allure
import pytest

from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
@pytest.mark.parametrize("kind", ["single-file", "directory"])
def test_application_with_a_way_back(lab: Lab, kind: str) -> None:
    """What cannot be installed changes nothing, and what is not to be kept is taken back byte for byte."""
    lab.deploy_application(kind, "fails")
    lab.claim_application("old", did="The module fails, and there was nothing before")
    lab.deploy_application(kind, "one")
    lab.claim_application("new", did="The first version")
    lab.deploy_application(kind, "two")
    lab.claim_application("new", did="The second version")
    lab.deploy_application(kind, "unkept")
    lab.claim_application("old", did="Refused before the commit, and taken back")


@allure.severity(allure.severity_level.CRITICAL)
@pytest.mark.parametrize("kind", ["script", "deb"])
def test_application_without_a_way_back(lab: Lab, kind: str) -> None:
    """What fails once it was begun leaves something nobody knows, the device says so, and the next one succeeds."""
    lab.deploy_application(kind, "one")
    lab.claim_application("new", did="The first version")
    lab.deploy_application(kind, "fails")
    lab.claim_application("inconsistent", did="The module fails")
    lab.deploy_application(kind, "two")
    lab.claim_application("new", did="The second version")
    lab.deploy_application(kind, "unkept")
    lab.claim_application("inconsistent", did="Refused before the commit, and there is no way back")
