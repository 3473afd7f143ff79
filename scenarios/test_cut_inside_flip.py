# SPDX-License-Identifier: Apache-2.0
"""Power fails inside the flip's environment write: it has happened or it has not, and nothing in between."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.BLOCKER)
def test_cut_inside_flip_torn(lab: Lab) -> None:
    """A torn sector leaves the other copy in force: the flip has not happened, the old version runs on."""
    lab.deploy("b")
    lab.cut_inside_env_write(after="install.flip", says="Cut inside the flip, a sector is torn")
    lab.power_on()
    lab.claim("old")


@allure.severity(allure.severity_level.BLOCKER)
def test_cut_inside_flip_whole(lab: Lab) -> None:
    """The copy's last sector is written and nothing after it: the flip stands alone, and the new version is whole."""
    lab.deploy("b")
    lab.cut_after_env_write(after="install.flip", says="Cut right after the flip's last sector")
    lab.power_on()
    lab.claim("new")
