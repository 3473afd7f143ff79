# SPDX-License-Identifier: Apache-2.0
"""An update that fails again and again is parked and reported; Mender's client fetches it for ever."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_parked(lab: Lab) -> None:
    """After three failures it is refused without being fetched, until another update has succeeded."""
    for number in range(3):
        lab.deploy("too-big")
        lab.claim_refused("slot only", did=f"Too big, try {number + 1}")
    lab.deploy("too-big")
    lab.claim_refused("has failed 3 times", did="Too big, parked")
    lab.claim_not_fetched()
    lab.deploy("b")
    lab.claim("new", did="Another update")
    lab.deploy("too-big")
    lab.claim_refused("slot only", did="Too big, a new chance")


@allure.severity(allure.severity_level.NORMAL)
def test_parked_never_as_in_the_original(lab: Lab) -> None:
    """Mender's clients have no such limit: with one that is never reached, every try fetches the artifact again."""
    lab.configure(Bootproof={"ParkAfterFailures": 1000})
    for number in range(4):
        lab.deploy("too-big")
        lab.claim_refused("slot only", did=f"Too big, try {number + 1}")
        lab.claim_fetched()
