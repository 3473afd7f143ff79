# SPDX-License-Identifier: Apache-2.0
"""An artifact signed by a stranger is refused, and nothing is written."""

import allure

from harness.lab import Lab


@allure.severity(allure.severity_level.BLOCKER)
def test_wrong_key(lab: Lab) -> None:
    """The refusal comes before the first byte of the slot."""
    lab.deploy("b", signer="stranger")
    lab.claim_refused("signature", did="No cut: signed by a stranger")
    lab.claim_untouched("rootfs-b")
