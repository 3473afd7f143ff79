# SPDX-License-Identifier: Apache-2.0
"""A rig whose board is judged: what is claimed of it, and what each claim looks at."""

from __future__ import annotations

import re
from collections.abc import Callable

from harness.board.machine import Media
from harness.errors import ClaimViolated, HarnessBug, Inconclusive
from harness.evidence import Events, Row, RunFolder
from harness.judge import (
    SLOTS,
    Environment,
    Evidence,
    Outcome,
    ServerRecord,
    Slot,
    Verdict,
    alarms,
    identify,
    judge_cut,
    judge_settled,
    parse_text,
    read_environment,
)
from harness.judge.evidence import inconsistent
from harness.judge.verdict import Expectation
from harness.lab.access import AccessRig
from harness.lab.device import keepsakes
from harness.lab.line import OTHER
from harness.lab.observe import Known, Observed, gather, media_now, running_slot
from harness.lab.rig import Parts, start_parts
from harness.storage import flushes
from images.catalogue import FACTORY_VERSION, Catalogue


class JudgedRig(AccessRig):
    """Keeps what the verdicts need: rows of the table, what was heard, what ran before."""

    def __init__(
        self,
        catalogue: Catalogue,
        folder: RunFolder,
        events: Events,
        seed: int,
        start: Callable[[Catalogue, RunFolder, int], Parts] = start_parts,
    ) -> None:
        super().__init__(catalogue, folder, events, seed, start)
        self.rows: list[Row] = []
        self.cuts: list[str] = []
        self.version = FACTORY_VERSION  # what ran when the last claim was made
        self._flushes = 0
        self._heard = b""  # what earlier power-ons said since then
        self._judged = b""  # what the last verdict has heard
        self._listened = 0  # how much of this power-on's console that was
        self.verdict: Verdict | None = None  # the last one
        self.defaults = parse_text(catalogue.default_environment())

    def join(self) -> None:
        """Switch a new board on, accept it on the server, and see that it came up as a new board should."""
        super().join()
        self.claim_quiet("bad-environment")  # the card of a new board is empty

    def claim(self, expect: Expectation, *, did: str = "") -> Verdict:
        """Wait until the board has settled, and judge it as it would be if the power failed now.

        Raises:
            ClaimViolated: it is not as claimed.
            Inconclusive: nothing can be said.
        """
        if self.wanted == self.version:
            raise HarnessBug(f"Version {self.wanted} ran before it was deployed, so old and new are the same.")
        settled = self.settle()
        media = self._media_now()
        evidence = self._gather(media, record=self.record(with_name=True), with_data=True, settled=settled)
        verdict = judge_settled(evidence, expect=expect)
        self._conclude(did, evidence, media, verdict)
        self.version = evidence.slots.get(self.running) or self.version
        if expect == "inconsistent":
            self._rename(self.version, inconsistent(self.known_images[self.version].artifact_name))
        self._keep("settled", verdict)
        return verdict

    def claim_undone(self, *shows: str, did: str) -> Verdict:
        """The new version was written and started, failed, and the old one is back.

        Raises:
            ClaimViolated: the board is not on the old version, or not whole.
            Inconclusive: the new version was never tried, or the console did not show all of `shows`.
        """
        verdict = self.claim("old", did=did)
        record = self.record()
        written = self.rows[-1].slots[OTHER[self.running]][0]
        if record is None or "rebooting" not in record.history or written != self.wanted:
            raise Inconclusive(f"Version {self.wanted} was never tried: the server was told {record}.")
        for pattern in shows:
            if not re.search(pattern.encode(), self._judged):
                raise Inconclusive(f"The console did not show '{pattern}', so the fault may not have been met.")
        return verdict

    def claim_refused(self, because: str, *, did: str) -> Verdict:
        """The new version was refused, for the reason that the pattern says, and the old one runs on.

        Raises:
            ClaimViolated: the board is not on the old version, or not whole.
            Inconclusive: it was refused for another reason.
        """
        verdict = self.claim("old", did=did)
        said = self.server.log(self.deployment, self.device)
        self.folder.write("deployment-log.json", said.splitlines())
        if not re.search(because, said):
            raise Inconclusive(f"The update was not refused because of '{because}': {said.strip()[-300:]}")
        return verdict

    def claim_quiet(self, *expected: str) -> None:
        """The console has shown no alarm since the last claim, but those that are expected.

        Raises:
            ClaimViolated: it has.
        """
        found = alarms(self._listen(), expected)
        self._begin_anew()
        self.claim_that(not found, f"the console shows no alarm (it shows {', '.join(found) or 'none'})")

    def claim_on_trial(self, *, did: str = "") -> Verdict:
        """Wait until a system has come up after a cut, and see that it is the new one, on trial.

        Raises:
            ClaimViolated: it is not.
        """
        slot = self.wait_up()
        media = self._media_now()
        evidence = self._gather(media, record=self.record(), with_data=False)
        verdict = judge_cut(evidence)
        self._conclude(did, evidence, media, verdict)
        self._keep("on trial", verdict)
        if evidence.slots[slot] != self.wanted or not evidence.environment.upgrade_available:
            raise ClaimViolated(
                f"Slot {slot} came up with {evidence.slots[slot]}, which is not {self.wanted} on trial."
            )
        return verdict

    def claim_told(self, status: str) -> None:
        """The server's record of the deployment ends with that status.

        Raises:
            ClaimViolated: it does not.
        """
        record = self.record()
        told = record.status if record else None
        self.claim_that(told == status, f"the server's record says {status} (it says {told})")

    def claim_runs(self, version: str) -> None:
        """The system that came up last is that version.

        Raises:
            ClaimViolated: it is not.
        """
        slot = running_slot(self.board.console.text)
        found = (
            identify(self._media_now().view, self.board.spec.layout, slot, tuple(self.known_images.values()))
            if slot
            else None
        )
        self.claim_that(found == version, f"version {version} runs ({found} does)")

    def claim_slot(self, slot: Slot, *, holds: str) -> None:
        """The slot is byte for byte that version.

        Raises:
            ClaimViolated: it is not.
        """
        found = identify(self._media_now().view, self.board.spec.layout, slot, tuple(self.known_images.values()))
        self.claim_that(found == holds, f"slot {slot.upper()} is byte for byte version {holds}")

    def claim_that(self, holds: bool, claim: str) -> None:
        """What the caller has found out.

        Raises:
            ClaimViolated: it does not hold.
        """
        self.events.emit("claim", holds=holds, says=f"  {'Holds' if holds else 'Violated'}: {claim}")
        self.folder.append("claims.json", {"claim": claim, "holds": holds})
        if not holds:
            raise ClaimViolated(f"It does not hold that {claim}.")

    def expect_alarms(self, *names: str) -> None:
        """These alarms on the console belong to the scenario, until the next claim."""
        self.expected_alarms.update(names)

    def environment(self) -> Environment:
        """U-Boot's environment as the card holds it since the last cut."""
        return read_environment(self.board.media.view, self.board.spec.layout)

    def _media_now(self) -> Media:
        return media_now(self.board)

    def _gather(self, media: Media, *, record: ServerRecord | None, with_data: bool, settled: bool = True) -> Evidence:
        observed = Observed(
            old=self.version, new=self.wanted, server=record, console=self._listen(),
            running=running_slot(self.board.console.text),
            expected_alarms=self.expected_alarms, settled=settled,
            has_flushes=self._flushes + flushes(self.board.log.operations) > 0,
        )  # fmt: skip
        known = Known(self.board.spec.layout, self.defaults, tuple(self.known_images.values()), keepsakes(self.seed))
        return gather(media.view, known, observed, with_data=with_data)

    def _conclude(self, did: str, evidence: Evidence, media: Media, verdict: Verdict) -> None:
        """Add a row, and begin the next stretch from here."""
        slot = evidence.running
        did = did or (self.cuts[-1] if self.cuts else "no cut")
        booted = f"slot {slot.upper()}, version {evidence.slots[slot] or 'unknown'}" if slot else "nothing"
        self.rows.append(self._row(did, booted, evidence, media, verdict))
        self.running = slot or self.running
        self._begin_anew()

    def _row(self, did: str, booted: str, evidence: Evidence, media: Media, verdict: Verdict) -> Row:
        slots: dict[str, tuple[str, str]] = {
            name: (evidence.slots[name] or "neither", self._digest(name, evidence, media)) for name in SLOTS
        }
        told = (evidence.server.status if evidence.server else None) or "nothing"
        return Row(did=did, booted=booted, slots=slots, told=told, outcome=verdict.outcome.value)

    def _digest(self, slot: Slot, evidence: Evidence, media: Media) -> str:
        image = self.known_images.get(evidence.slots[slot] or "")
        place = self.board.spec.layout.partition(f"rootfs-{slot}")
        return image.sha256 if image else media.view.digest(place.start, self.known_images[FACTORY_VERSION].size)

    def _keep(self, when: str, verdict: Verdict) -> None:
        self.verdict = verdict
        self.folder.append("verdicts.json", {"when": when, **verdict.as_dict()})
        self.events.emit("verdict", when=when, outcome=verdict.outcome.value, says=verdict.sentence)
        if verdict.outcome is Outcome.VIOLATED:
            raise ClaimViolated(verdict.sentence)
        if verdict.outcome is Outcome.INCONCLUSIVE:
            raise Inconclusive(verdict.sentence)

    def _listen(self) -> bytes:
        """What the board has said since the last claim, over all its power-ons."""
        text = self.board.console.text
        self._listened = len(text)
        self._judged = self._heard + text[self._console_read :]
        return self._judged

    def _begin_anew(self) -> None:
        """What has been judged is judged; what the board said in the meantime is for the next claim."""
        self._heard = b""
        self._console_read = self._listened
        self.expected_alarms.clear()
