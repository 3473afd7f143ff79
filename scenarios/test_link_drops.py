# SPDX-License-Identifier: Apache-2.0
"""The line drops in the middle of the download and comes back: it goes on from where it was."""

import allure

from harness.lab import Lab

MIB = 1024 * 1024


@allure.severity(allure.severity_level.NORMAL)
def test_link_drops(lab: Lab) -> None:
    """The rest is asked for by range, no byte of the slot is written twice, and the update succeeds."""
    lab.break_download(lab.random.randint(2 * MIB, 15 * MIB))
    lab.deploy("b")
    lab.heal_network(after=2.0)
    lab.claim("new", did="No cut: the line drops and returns")
    lab.claim_resumed_by_range()
    lab.claim_written_once("rootfs-b")
