# SPDX-License-Identifier: Apache-2.0
"""The server fails in the ways in which servers fail: the update arrives all the same."""

import allure

from harness.faults.server import fault
from harness.lab import Lab

MIB = 1024 * 1024


@allure.severity(allure.severity_level.CRITICAL)
def test_server_fails_for_a_while(lab: Lab) -> None:
    """Overloaded twice, cut in the download and with a link that has expired: nothing is lost and nothing is mixed."""
    overloaded = fault("answer", status=503, headers={"Retry-After": "1"}).at("next").twice()
    cut = fault("cut", after=lab.random.randint(2 * MIB, 8 * MIB)).at("download").once()
    expired = fault("answer", status=403).at("download").once()
    with lab.server_does(overloaded, cut, expired):
        lab.deploy("b")
        lab.claim("new", did="Server overloaded twice, cut in the download, link expired")
        lab.claim_resumed_by_range()
        lab.claim_written_once("rootfs-b")


@allure.severity(allure.severity_level.CRITICAL)
def test_server_answers_with_the_wrong_range(lab: Lab) -> None:
    """The rest of the artifact comes under a range that was not asked for: no byte of it is taken."""
    for number, says in enumerate(("wrong_start", "whole")):
        cut = fault("cut", after=lab.random.randint(2 * MIB, 8 * MIB)).at("download").once()
        with lab.server_does(cut, fault("content_range", says=says)):
            lab.deploy("b" if number == 0 else "c")
            lab.claim_refused("The rest from byte", did=f"Cut, and the rest under a range that is wrong ({says})")

    lab.deploy("b")
    lab.claim("new", did="No fault: the next update")
