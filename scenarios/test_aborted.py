# SPDX-License-Identifier: Apache-2.0
"""The server takes a deployment back while the board is at work on it.

Each time the board is stopped at a step and what it says next is held, so the server has surely taken the deployment
back before it hears of that step.
"""

import allure

from harness.faults.power import mark
from harness.lab import Lab


@allure.severity(allure.severity_level.CRITICAL)
def test_aborted_before_the_commit(lab: Lab) -> None:
    """Whatever has been done by then is undone, the old version runs on, and the next update succeeds."""
    for step, does in (
        ("report.downloading", "before the download"),
        ("slot.write", "in the middle of the download"),
        ("report.installing", "before the installation"),
        ("report.rebooting", "before the reboot"),
    ):
        lab.deploy("b")
        with lab.at(mark(step)):
            lab.abort()
        lab.claim("old", did=f"Taken back {does}")
        lab.claim_told("aborted")

    lab.deploy("b")
    with lab.at(mark("reboot", "report.installing")):
        lab.abort()
    lab.claim_undone("release-b is up", did="Taken back before the commit")
    lab.claim_told("aborted")

    lab.deploy("b")
    lab.claim("new", did="No cut: the next update")
    lab.claim_told("success")


@allure.severity(allure.severity_level.CRITICAL)
def test_aborted_after_the_commit(lab: Lab) -> None:
    """What is to be kept by then is kept, the server has its own way, and the next update succeeds."""
    lab.deploy("b")
    with lab.at(mark("commit.begin")):
        lab.abort()
    lab.claim("new", did="Taken back as the commit begins")
    lab.claim_told("aborted")

    lab.deploy("c")
    with lab.at(mark("report.success")):
        lab.abort()
    lab.claim("new", did="Taken back before success is told")
    lab.claim_told("aborted")

    lab.deploy("b")
    lab.claim("new", did="No cut: the next update")
    lab.abort(too_late=True)
    lab.claim_told("success")
