# SPDX-License-Identifier: Apache-2.0
"""The root file system is stateless: nothing can write to it, and it is the same after use."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.NORMAL)
def test_stateless(lab: Lab) -> None:
    """A write to it fails, what is on /data stays over a reboot, and the slot is byte for byte what was built.

    A day of use is its clock set forward by a day, with the updater at work on either side of it.
    """
    lab.run("! touch /usr/lib/stateless 2>/dev/null && echo kept > /data/mark && sync")
    lab.wait_poll()
    lab.run("date -s @$(($(date +%s) + 86400))")
    lab.wait_poll()
    lab.soft_reboot()
    lab.wait_up()
    lab.run("test $(cat /data/mark) = kept")
    lab.claim_slot("a", holds="a")
    lab.claim_untouched("rootfs-a")
    lab.claim_quiet()
