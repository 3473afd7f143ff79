# SPDX-License-Identifier: Apache-2.0
"""The server is in an attacker's hands: what it sends is not what was released, and the old system stays."""

import allure

from harness.faults.server import fault
from harness.lab import Lab

CHECKSUM = "checksum of 'data/0000/"


@allure.severity(allure.severity_level.BLOCKER)
def test_server_attacks(lab: Lab) -> None:
    """Other software, a name far ahead, a mirror with other bytes, a mixture: each is refused, the old system stays."""
    b, c = lab.brings("b"), lab.brings("c")

    with lab.server_does(fault("arbitrary_software", artifact=c)):
        lab.deploy("b")
        lab.claim_refused("announced", did="Arbitrary software under the promised name")
        lab.claim_untouched("rootfs-b")

    with lab.server_does(fault("fast_forward")):
        lab.deploy("c")
        lab.claim_refused("announced", did="Fast forward")
        lab.claim_untouched("rootfs-b")

    with lab.server_does(fault("malicious_mirror")):
        lab.deploy("b")
        lab.claim_refused("checksum|compressed|corrupt", did="Malicious mirror")

    with lab.server_does(fault("mix_and_match", artifact=b)):
        lab.deploy("c")
        lab.claim_refused(CHECKSUM, did="Mix and match")

    lab.deploy("b")
    lab.claim("new", did="No attack: the next update")


@allure.severity(allure.severity_level.CRITICAL)
def test_server_with_another_key_and_without_an_end(lab: Lab) -> None:
    """An artifact that a stranger signed is refused before it is written; a download that never ends is given up."""
    stranger = lab.brings("c", signer="stranger")
    with lab.server_does(fault("key_compromise", artifact=stranger)):
        lab.deploy("b")
        lab.claim_refused("signature", did="Key compromise: signed by a stranger")
        lab.claim_untouched("rootfs-b")

    with lab.server_does(fault("endless_data", length="huge")):
        lab.deploy("b")
        lab.claim_refused("zero bytes after its end", did="Endless data")

    lab.deploy("b")
    lab.claim("new", did="No attack: the next update")
