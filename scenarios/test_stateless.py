# SPDX-License-Identifier: Apache-2.0
"""The root file system is stateless: nothing can write to it, and it is the same after use."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.NORMAL)
def test_stateless(lab: Lab) -> None:
    """A write to it fails, what is on /data stays over a reboot, and the slot is byte for byte what was built."""
    lab.run("! touch /usr/lib/stateless 2>/dev/null && echo kept > /data/mark && sync")
    lab.soft_reboot()
    lab.wait_up()
    lab.run("test $(cat /data/mark) = kept")
    lab.claim_slot("a", holds="a")
    lab.claim_untouched("rootfs-a")
    lab.claim_quiet()
