# SPDX-License-Identifier: Apache-2.0
"""The new version has no network: it cannot report, is not kept, and the old version reports late."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_no_network(lab: Lab) -> None:
    """A version that cannot be reached must not be kept."""
    lab.deploy("no-network")
    lab.claim_undone("release-no-network is up", did="No cut: no network in the new version")
