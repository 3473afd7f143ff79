# SPDX-License-Identifier: Apache-2.0
"""The bootloader's environment is lost, or never was: the device finds its way, and says what it has mended."""

import allure
import pytest

from harness.lab import Lab


@allure.severity(allure.severity_level.BLOCKER)
def test_both_copies_lost(lab: Lab) -> None:
    """U-Boot falls back to slot A, whatever was installed; the device notices, and goes back to what was kept."""
    lab.deploy("b")
    lab.claim("new", did="No cut: version b is kept in slot B")
    lab.switch_off("Switch the board off")
    lab.lose_environment()
    lab.expect_alarms("bad-environment")
    lab.power_on()
    lab.deploy("c", signer="stranger")
    lab.claim_refused("signature", did="Both copies of the environment lost")
    lab.claim_runs("b")
    lab.claim_says(incident_environment_restored="1", incident_returned_to_kept_slot="1")


@allure.severity(allure.severity_level.NORMAL)
@pytest.mark.original("stale-slot-unnoticed")
def test_both_copies_lost_as_the_original_takes_it(lab: Lab) -> None:
    """Mender's clients, by their documentation: the stale slot runs from now on, and nobody notices."""
    lab.deploy("b")
    lab.claim("new", did="No cut: version b is kept in slot B")
    lab.switch_off("Switch the board off")
    lab.lose_environment()
    lab.expect_alarms("bad-environment")
    lab.power_on()
    lab.deploy("c", signer="stranger")
    with lab.loses("slot", "what was kept does not run any more, and nobody notices"):
        lab.claim("old", did="Both copies of the environment lost")


@allure.severity(allure.severity_level.CRITICAL)
def test_never_initialised(lab: Lab) -> None:
    """A device whose bootloader has never saved its environment updates like any other."""
    lab.switch_off("Switch the board off")
    lab.never_initialise()
    lab.power_on()
    lab.deploy("b")
    lab.claim("new", did="An environment that was never saved")
    lab.claim_says(incident_environment_restored="1")
