# SPDX-License-Identifier: Apache-2.0
"""A person updates the board by command and without the server, whose daemon leaves such an update alone."""

import allure

from harness.faults.power import now, writes
from harness.lab import Lab
from harness.lab.operator import INSTALLED, REFUSED, Operator


@allure.severity(allure.severity_level.CRITICAL)
def test_standalone_commit(lab: Lab) -> None:
    """What is installed, started and committed by hand is kept; what was rolled back in time has never been."""
    operator = Operator(lab)
    artifact = operator.brings("b")
    operator.runs(f"install {artifact}", says=INSTALLED)
    operator.runs(f"install {artifact}", code=1, says="Update already in progress")
    operator.reboots()
    lab.claim_runs("b")
    lab.wait_said("An update that was begun by hand is not finished")
    operator.runs("commit", says="Committed.")
    operator.runs("show-artifact", says="release-b\n")
    lab.claim("new", did="By hand: installed from a file, committed")

    operator.runs(f"install {operator.offers('c')}", says=INSTALLED)
    operator.reboots()
    lab.claim_runs("c")
    operator.runs("rollback", says="Rolled back.")
    operator.reboots()
    lab.claim_runs("b")
    operator.runs("show-artifact", says="release-b\n")
    lab.claim("old", did="By hand: installed from an address, rolled back")


@allure.severity(allure.severity_level.CRITICAL)
def test_standalone_without_commit(lab: Lab) -> None:
    """What nobody commits is not kept when the power fails; that it is lost is said, and the next update succeeds."""
    operator = Operator(lab)
    operator.runs(f"install - <{operator.brings('b')}", says=INSTALLED)
    operator.reboots()
    lab.claim_runs("b")
    lab.cut_power(now(), lose="unflushed", says="By hand: installed from standard input, cut before the commit")
    lab.power_on()
    lab.wait_up()
    lab.claim_runs("a")
    lab.wait_said("the update that was begun by hand did not come up, and is rolled back")
    lab.wait_poll()
    operator.runs("commit", code=2, says="No update in progress.")
    lab.claim("old")

    lab.deploy("c")
    lab.claim("new", did="No cut: the next update")


@allure.severity(allure.severity_level.CRITICAL)
def test_standalone_rollback_after_commit(lab: Lab) -> None:
    """A commit that was stopped before its last step can be taken back, although the bootloader knows of it."""
    operator = Operator(lab)
    operator.runs(f"install {operator.brings('b')}", says=INSTALLED)
    operator.reboots()
    operator.runs("commit --stop-before ArtifactCommit_Leave", says="Before_ArtifactCommit_Leave")
    operator.runs("rollback", says="Rolled back.")
    operator.reboots()
    lab.claim_runs("a")
    operator.runs("show-artifact", says="release-a\n")
    lab.claim("old", did="By hand: committed, then rolled back")


@allure.severity(allure.severity_level.CRITICAL)
def test_standalone_from_a_stick(lab: Lab) -> None:
    """A stick that is pulled out while it is installed from changes nothing; one that stays in does its work."""
    operator = Operator(lab)
    operator.begins(f"install {operator.brings_a_stick('b')}")
    lab.expect_alarms("io-error")  # of the stick
    with lab.at(writes(20, to="passive", after="slot.write")):
        lab.pull_stick()
    operator.sees_it_end(code=1, says=REFUSED, because="Input/output error")
    operator.runs("show-artifact", says="release-a\n")
    lab.claim("old", did="By hand: installed from a stick that was pulled out")

    operator.runs(f"install {operator.brings_a_stick('b')}", says=INSTALLED)
    operator.reboots()
    lab.claim_runs("b")
    operator.runs("commit", says="Committed.")
    lab.claim("new", did="By hand: installed from a stick")
