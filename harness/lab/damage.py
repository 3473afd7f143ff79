# SPDX-License-Identifier: Apache-2.0
"""A rig whose bootloader's environment can be lost, and what is claimed of a device that must not lose its way."""

from __future__ import annotations

import contextlib
import re
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import replace

from harness.board.machine import Media
from harness.errors import ClaimViolated, HarnessBug, Inconclusive
from harness.judge.bootenv import CRC_BYTES
from harness.lab.applications import ApplicationRig
from harness.storage import Extent, ExtentMap

CANARY = "mender_saveenv_canary"
SAVING = 'if test "${mender_saveenv_canary}" != "1"; then setenv mender_saveenv_canary 1; saveenv; fi; '
RANGE = re.compile(r"bytes=(\d+)-\d*")


class DamageRig(ApplicationRig):
    """A rig whose card can be written while the board is off."""

    def lose_environment(self) -> None:
        """No copy of the environment is whole any more, as after a failing card."""
        size = self.board.spec.layout.env_size
        self._write_copies("Damage both copies of the environment", [self.random.randbytes(size) for _ in range(2)])

    def never_initialise(self) -> None:
        """The environment is one that this bootloader has never saved, and never will by itself.

        As when a factory's test wrote it with its own tools: valid, whole, and without the canary.
        """
        variables = {**self.defaults, "mender_setup": self.defaults["mender_setup"].replace(SAVING, "")}
        if variables["mender_setup"] == self.defaults["mender_setup"]:
            raise HarnessBug("The bootloader's mender_setup is not the one that is known here.")
        variables.pop(CANARY, None)
        size = self.board.spec.layout.env_size
        copies = [_rendered(variables, flag, size) for flag in range(len(self.board.spec.layout.env_offsets))]
        self._write_copies("Write an environment that the bootloader has never saved", copies)
        self.defaults = variables  # what is on the card stays as it is there

    def claim_went_on(self) -> None:
        """Since the power came on, only the artifact's head was asked for from the beginning, the rest from further on.

        Raises:
            ClaimViolated: it was fetched anew.
        """
        asked = self._fetched(self._at_power_on)
        starts = [int(found[1]) for text in asked if (found := RANGE.fullmatch(text or ""))]
        holds = bool(starts) and min(starts) > 0 and len(asked) == len(starts) + 1
        self.claim_that(holds, f"the download went on where it was (asked for: {asked})")

    def claim_fetched(self) -> None:
        """Since the deployment the artifact has been asked for.

        Raises:
            ClaimViolated: it has not.
        """
        self.claim_that(bool(self._fetched(self._asked)), "the artifact was fetched")

    def claim_not_fetched(self) -> None:
        """Since the deployment the artifact has not been asked for.

        Raises:
            ClaimViolated: it has.
        """
        asked = self._fetched(self._asked)
        self.claim_that(not asked, f"the artifact was not fetched ({len(asked)} times it was)")

    @contextlib.contextmanager
    def loses(self, rule: str, says: str) -> Iterator[None]:
        """What is claimed in the block is violated by that rule, and so the loss that is documented is shown.

        Raises:
            Inconclusive: it holds, or it is violated by other rules only.
        """
        try:
            yield
        except ClaimViolated:
            findings = self.verdict.findings if self.verdict else ()
            if rule not in {finding.rule for finding in findings if not finding.holds}:
                raise
        else:
            raise Inconclusive(
                f"The loss was not seen: {says}.", "See whether the planted fault still does what it says."
            )
        self.rows[-1] = replace(self.rows[-1], outcome=f"lost, as documented: {says}")
        self.events.emit("claim", holds=True, says=f"  Lost, as documented of the original: {says}")
        self.folder.append("claims.json", {"claim": f"lost, as documented of the original: {says}", "holds": True})

    def claim_says(self, **attributes: str) -> None:
        """The device's inventory has these values.

        Raises:
            ClaimViolated: it has others.
        """
        told = self.server.attributes(self.device)
        found = {name: told.get(name) for name in attributes}
        self.claim_that(found == attributes, f"the device says {attributes} (it says {found})")

    def power_on(self, off_for: float = 0.0) -> None:
        self._at_power_on = self._last_request()
        super().power_on(off_for)

    def _fetched(self, since: int) -> list[str | None]:
        return [entry["range"] for entry in self.server.journal(since) if "/download" in entry["path"]]

    def _write_copies(self, says: str, copies: list[bytes]) -> None:
        if self.board.on:
            raise HarnessBug("The card can be written only while the board is off.")
        with self.events.step(says):
            layout = self.board.spec.layout
            file = self.folder / f"environment-{self.board.power_ons}.bin"
            file.write_bytes(b"".join(copies))
            damage = ExtentMap(
                Extent(layout.card.start + offset, layout.env_size, file, number * layout.env_size)
                for number, offset in enumerate(layout.env_offsets)
            )
            media = self.board.media
            self.board.media = Media(media.base, damage.over(media.extents))


def _rendered(variables: Mapping[str, str], flag: int, size: int) -> bytes:
    """One copy of a redundant environment (U-Boot: CRC-32 of the data, a flag, and `name=value`s that end in zeros)."""
    text = b"".join(f"{name}={value}\0".encode() for name, value in sorted(variables.items())) + b"\0"
    area = text.ljust(size - CRC_BYTES - 1, b"\0")
    return zlib.crc32(area).to_bytes(CRC_BYTES, "little") + bytes([flag]) + area
