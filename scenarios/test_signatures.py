# SPDX-License-Identifier: Apache-2.0
"""Who signed an artifact, with which kind of key, and what the device was told to trust: every case that there is."""

import allure

from harness.lab import Lab
from harness.lab.operator import INSTALLED, REFUSED, Operator

UNSIGNED = "the artifact is not signed, and a verification key is configured"
STRANGE = "the signature matches none of the verification keys"
HEADER = "the checksum of 'header.tar.gz' does not match"
PAYLOAD = "the checksum of 'data/0000/rootfs.ext4' does not match"
BEFORE_WRITING, BEFORE_FLIPPING = "rootfs-b", "card"  # what a refusal leaves untouched
# What the device trusts, who has signed, what has been spoiled since; why it is refused, and before what.
CASES = (
    (None, None, None, None, None),
    (None, "release", None, None, None),
    (None, "release-ec", None, None, None),
    ("release", None, None, UNSIGNED, BEFORE_WRITING),
    ("release", "release", None, None, None),
    ("release", "stranger", None, STRANGE, BEFORE_WRITING),
    ("release", "release", "payload", PAYLOAD, BEFORE_FLIPPING),
    ("release", "release-ec", None, STRANGE, BEFORE_WRITING),
    ("release-ec", None, None, UNSIGNED, BEFORE_WRITING),
    ("release-ec", "release-ec", None, None, None),
    ("release-ec", "stranger-ec", None, STRANGE, BEFORE_WRITING),
    ("release-ec", "release-ec", "payload", PAYLOAD, BEFORE_FLIPPING),
    ("release-ec", "release-ec", "header", HEADER, BEFORE_WRITING),
    ("release-ec", "release", None, STRANGE, BEFORE_WRITING),
)


@allure.severity(allure.severity_level.BLOCKER)
def test_signatures(lab: Lab) -> None:
    """What is not signed by a trusted key, or is not what was signed, is refused before it can be started."""
    operator = Operator(lab)
    trusted: str | None = "release"
    for trusts, signer, spoiled, because, untouched in CASES:
        if trusts != trusted:
            lab.trust(trusts)
            trusted = trusts
        artifact = operator.brings_file(lab.catalogue.sample(signer, spoiled))
        lab.turn_page()
        if because is None:
            operator.runs(f"install {artifact}", says=INSTALLED)
            operator.runs("rollback", says="Rolled back.")
        else:
            operator.runs(f"install {artifact}", code=1, says=REFUSED, because=because)
            lab.claim_untouched(untouched)
        operator.runs("commit", code=2, says="No update in progress.")
    operator.reboots()
    lab.claim_runs("a")
    lab.claim_quiet()
