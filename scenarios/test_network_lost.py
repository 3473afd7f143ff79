# SPDX-License-Identifier: Apache-2.0
"""The line to the server is lost at each step of an update: for a while, or for longer than is tried.

It comes back when the board has tried it in vain, or when it has given up; no clock decides.
"""

import allure

from harness.faults.power import mark
from harness.lab import Lab

MIB = 1024 * 1024


@allure.severity(allure.severity_level.CRITICAL)
def test_network_lost_for_a_while(lab: Lab) -> None:
    """The board tries again until the line is back, and the update succeeds."""
    lab.break_line()
    lab.deploy("b")
    lab.heal_network(tries=2)
    lab.claim("new", did="Line lost before the deployment is known")

    lab.deploy("c")
    with lab.at(mark("download.begin")):
        lab.break_line()
    lab.heal_network(tries=2)
    lab.claim("new", did="Line lost before the download")

    lab.break_download(lab.random.randint(2 * MIB, 15 * MIB))
    lab.deploy("b")
    lab.heal_network(tries=2)
    lab.claim("new", did="Line lost in the download")
    lab.claim_resumed_by_range()

    lab.deploy("c")
    with lab.at(mark("state.install-enter")):
        lab.break_line()
    lab.heal_network(tries=1)
    lab.claim("new", did="Line lost at the installation")

    lab.deploy("b")
    with lab.at(mark("reboot")):
        lab.break_line()
    lab.heal_network(tries=2)
    lab.claim("new", did="Line lost over the reboot")

    lab.deploy("c")
    with lab.at(mark("reboot", "report.installing")):
        lab.break_line()
    lab.heal_network(tries=2)
    lab.claim("new", did="Line lost before the commit")


@allure.severity(allure.severity_level.CRITICAL)
def test_network_lost_for_long_in_the_download(lab: Lab) -> None:
    """The board gives up, stays on the old version, and tells it as soon as it can."""
    lab.deploy("b")
    with lab.at(mark("download.begin")):
        lab.break_line()
    with lab.at(mark("report.failure", "idle")):
        lab.heal_network()
    lab.claim("old", did="Line lost for long before the download")
    lab.claim_untouched("rootfs-b")

    lab.break_download(lab.random.randint(2 * MIB, 15 * MIB))
    lab.deploy("b")
    with lab.at(mark("report.failure", "idle")):
        lab.heal_network()
    lab.claim("old", did="Line lost for long in the download")

    lab.deploy("b")
    lab.claim("new", did="No cut: the next update")


@allure.severity(allure.severity_level.CRITICAL)
def test_network_lost_for_long_once_installed(lab: Lab) -> None:
    """A version that cannot be told of is not kept; the old one comes back and tells it as soon as it can."""
    for step, says in (("state.install-enter", "at the installation"), ("reboot", "over the reboot")):
        lab.deploy("b")
        with lab.at(mark(step)):
            lab.break_line()
        with lab.at(mark("rollback.restored", "reboot", "report.failure", "idle")):
            lab.heal_network()
        lab.claim("old", did=f"Line lost for long {says}")

    lab.deploy("c")
    with lab.at(mark("reboot", "report.installing")):
        lab.break_line()
    with lab.at(mark("rollback.restored", "reboot", "report.failure", "idle")):
        lab.heal_network()
    lab.claim_undone("release-c is up", did="Line lost for long before the commit")

    lab.deploy("c")
    lab.claim("new", did="No cut: the next update")


@allure.severity(allure.severity_level.CRITICAL)
def test_network_falls_silent(lab: Lab) -> None:
    """A connection on which nothing comes any more is noticed as fast as configured, and the update succeeds."""
    lab.configure(Bootproof={"DownloadStallSeconds": 3})
    lab.break_download(lab.random.randint(2 * MIB, 15 * MIB), silently=True)
    lab.deploy("b")
    lab.claim_tries_again(within=20.0)  # without being told otherwise it is patient for 30
    lab.heal_network()
    lab.claim("new", did="Line silent in the download")
    lab.claim_resumed_by_range()
    lab.claim_written_once("rootfs-b")

    lab.configure(Bootproof={"DownloadStallSeconds": 3})
    lab.deploy("c")
    with lab.at(mark("reboot", "report.installing")):
        lab.break_line(silently=True)
    lab.claim_tries_again(within=20.0)
    lab.heal_network()
    lab.claim("new", did="Line silent before the commit")


@allure.severity(allure.severity_level.NORMAL)
def test_network_falls_silent_on_the_original(lab: Lab) -> None:
    """As reported of Mender's clients: with no limit to its patience the board hangs until somebody switches it off."""
    lab.configure(Bootproof={"DownloadStallSeconds": 86400})
    lab.break_download(lab.random.randint(2 * MIB, 15 * MIB), silently=True)
    lab.deploy("b")
    lab.heal_network()
    lab.claim_hangs(60)
    lab.switch_off("Somebody switches it off")
    lab.power_on()
    lab.claim("new")
