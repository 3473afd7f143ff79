# SPDX-License-Identifier: Apache-2.0
"""The new version's updater cannot start, so nobody there can commit or roll back: the old version comes back."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_no_updater(lab: Lab) -> None:
    """A configuration that the new updater refuses is met on the first boot, and no one has to come to the device."""
    lab.expect_alarms("updater-not-started")
    lab.deploy("no-updater")
    lab.claim_undone(
        "UpdatePollIntervalSeconds must be a whole number",
        "the updater does not run on the system on trial",
        "Bootlimit .* exceeded",
        did="No cut: the new updater cannot start",
    )
