# SPDX-License-Identifier: Apache-2.0
"""The laboratory: the verbs of a scenario, each of which leaves its trace in the run folder.

    join · deploy · cut_power · power_on · settle · claim        (and reset, soft_reboot, break_download, run)

A claim that does not hold is raised at once; a fault that did not fire is `Inconclusive`, never green.
"""

from __future__ import annotations

from harness.board.machine import Media
from harness.clock import Deadline, poll
from harness.errors import ClaimViolated, GuestFault, Inconclusive
from harness.evidence import Events, Row, RunFolder
from harness.faults.power import Moment as When
from harness.faults.power import Watch, area
from harness.judge import (
    SLOTS,
    Environment,
    Evidence,
    Outcome,
    ServerRecord,
    Slot,
    Verdict,
    identify,
    judge_cut,
    judge_settled,
    parse_text,
    read_environment,
)
from harness.judge.verdict import Expectation
from harness.lab.device import keepsakes
from harness.lab.observe import Known, Moment, gather
from harness.lab.rig import Rig
from harness.storage import (
    CrashPoint,
    Extent,
    ExtentMap,
    Kind,
    Lose,
    Operation,
    choose,
    flushes,
    marks,
    open_epoch,
    summary,
)
from images.catalogue import FACTORY_VERSION, Catalogue

OTHER: dict[Slot, Slot] = {"a": "b", "b": "a"}
LOOK_SECONDS = 0.05  # between looks at the server


class Lab(Rig):
    """A rig whose board is cut and judged.  `close` leaves nothing behind but the run folder."""

    def __init__(self, catalogue: Catalogue, folder: RunFolder, events: Events, seed: int) -> None:
        super().__init__(catalogue, folder, events, seed)
        self.rows: list[Row] = []
        self.cuts: list[str] = []
        self.version = FACTORY_VERSION  # what ran when the last claim was made
        self._flushes = 0
        self._heard = b""  # what earlier power-ons said since then
        self._defaults = parse_text(catalogue.default_environment())

    # -- the power cut -------------------------------------------------------------------------------------------

    def cut_power(self, at: When, *, lose: Lose = "some", tear: bool = False, says: str = "") -> CrashPoint:
        """Cut the power at a moment; what was not flushed is lost as the seed says.  The media are judged at once.

        Raises:
            Inconclusive: the moment did not come, or the board reported something after it.
            ClaimViolated: the media are not as they must be at every moment.
        """
        moment = at.within(f"rootfs-{OTHER[self.running]}")
        what = says or f"Cut the power {at}"
        with self.events.step(what):
            position = self._stop_at(moment, Deadline(self.timeouts.fault))
            if position is None:
                self.board.kill()
                raise Inconclusive(f"The power cut did not happen: the board never came to the moment {at}.")
            seed = self.random.getrandbits(32)
            before = self.environment()
            layout = self.board.spec.layout
            point = self.board.cut_power(lambda log: choose(log, position, layout, lose=lose, seed=seed, tear=tear))
        self._note_cut(what, at, point, before.as_dict())
        self._heard += self._fresh_console()
        self._keep("after the cut", judge_cut(self._gather(self.board.media, record=self._record(), with_data=False)))
        if tear and at.to == "card" and all(copy.valid for copy in self.environment().copies):
            raise Inconclusive("The cut tore nothing that matters: every environment copy is valid.")
        return point

    def _stop_at(self, moment: When, deadline: Deadline) -> int | None:
        """Stop the board at the moment; returns the log's position there, None if the moment did not come."""
        if moment.shows is None:
            return self.board.stop_when(Watch(moment, self.board.log, self.board.spec.layout), deadline)
        try:
            self.board.console.expect(moment.shows, deadline)
        except GuestFault:
            return None
        self.board.kill()
        self.board.log.poll()
        return len(self.board.log.operations)

    def _note_cut(self, what: str, at: When, point: CrashPoint, before: object) -> None:
        log, layout = self.board.log, self.board.spec.layout
        beyond = [mark.name for position, mark in marks(log, layout) if position > point.position]
        self.cuts.append(what)
        self._flushes += flushes(log.operations[: point.position])
        cut = {
            "number": len(self.cuts), "says": what, "power_on": self.board.power_ons, "at": str(at),
            "point": str(point),
            "unflushed": len(open_epoch(log.operations, point.position, layout)), "lost": len(point.lost),
            "torn": point.torn, "operations": len(log.operations), "beyond": beyond,
            "media": self.board.media.extents.digest(),
        }  # fmt: skip
        self.events.emit("cut", **{name: cut[name] for name in ("number", "at", "unflushed", "lost", "torn")})
        self.folder.append("cuts.json", cut)
        self._keep_summary()
        after = self.environment().as_dict()
        self.folder.write(f"environment-{len(self.cuts)}.json", {"before": before, "after": after})
        # What the board told the server after the moment of the cut would not have been told.
        if any(name.startswith("report.") for name in beyond):
            raise Inconclusive(f"The board went on to '{beyond[-1]}' before it could be stopped.", "Run it again.")

    def _keep_summary(self) -> None:
        """What the log of this power-on holds, in short."""
        self.board.log.poll()
        self.folder.write(f"writelog-{self.board.power_ons}.json", summary(self.board.log, self.board.spec.layout))

    def close(self) -> None:
        """End everything; the last log is kept in short, too."""
        if self.board.power_ons:
            self.board.kill()
            self._keep_summary()
        super().close()

    # -- the end -------------------------------------------------------------------------------------------------

    def settle(self) -> bool:
        """Wait until the board has stopped changing: its deployment has ended and it has asked for work since."""

        def ended() -> bool:
            finished = self.server.finished_at(self.deployment, self.device)
            return finished is not None and self.server.last_poll(self.device) > finished

        with self.events.step("Wait until the board has settled"):
            return bool(poll(ended, Deadline(self.timeouts.settle), every=LOOK_SECONDS))

    def claim(self, expect: Expectation, *, did: str = "") -> Verdict:
        """Wait until the board has settled, and judge it as it would be if the power failed now.

        Raises:
            ClaimViolated: it is not as claimed.
            Inconclusive: nothing can be said.
        """
        settled = self.settle()
        media = self._media_now()
        record = self._record()
        evidence = self._gather(media, record=record, with_data=True, settled=settled)
        verdict = judge_settled(evidence, expect=expect)
        self._conclude(did, evidence, media, verdict)
        self.version = evidence.slots.get(self.running) or self.version
        self._keep("settled", verdict)
        return verdict

    def claim_on_trial(self, *, did: str = "") -> Verdict:
        """Wait until a system has come up after a cut, and see that it is the new one, on trial.

        Raises:
            ClaimViolated: it is not.
        """
        slot = self.wait_up()
        media = self._media_now()
        evidence = self._gather(media, record=self._record(), with_data=False)
        verdict = judge_cut(evidence)
        self._conclude(did, evidence, media, verdict)
        self._keep("on trial", verdict)
        if evidence.slots[slot] != self.wanted or not evidence.environment.upgrade_available:
            raise ClaimViolated(
                f"Slot {slot} came up with {evidence.slots[slot]}, which is not {self.wanted} on trial."
            )
        return verdict

    def claim_slot(self, slot: Slot, *, holds: str) -> None:
        """The slot is byte for byte that version.

        Raises:
            ClaimViolated: it is not.
        """
        found = identify(self._media_now().view, self.board.spec.layout, slot, tuple(self.known_images.values()))
        self._say_claim(found == holds, f"slot {slot.upper()} is byte for byte version {holds}")

    def claim_untouched(self, name: str) -> None:
        """Nothing has been written to an area since power-on."""
        written = sum(one.length for one in self._writes_to(name))
        self._say_claim(written == 0, f"nothing has been written to {name} ({written} bytes have)")

    def claim_written_once(self, name: str) -> None:
        """No byte of an area has been written twice since power-on."""
        written = self._writes_to(name)
        total = sum(one.length for one in written)
        distinct = ExtentMap(Extent(one.address, one.length, self.board.log.path, one.offset) for one in written).bytes
        self._say_claim(0 < total == distinct, f"{name} was written once ({total} bytes, {distinct} of them distinct)")

    def claim_resumed_by_range(self) -> None:
        """The server was asked for the artifact's beginning once, and for the rest by range."""
        asked = [entry["range"] for entry in self.server.journal() if "/download" in entry["path"]]
        good = len(asked) > 1 and not asked[0] and all(asked[1:])
        self._say_claim(good, f"the rest of the artifact was asked for by range ({asked})")

    def _say_claim(self, holds: bool, claim: str) -> None:
        self.events.emit("claim", holds=holds, says=f"  {'Holds' if holds else 'Violated'}: {claim}")
        self.folder.append("claims.json", {"claim": claim, "holds": holds})
        if not holds:
            raise ClaimViolated(f"It does not hold that {claim}.")

    def _writes_to(self, name: str) -> list[Operation]:
        self.board.log.poll()
        place = area(self.board.spec.layout, name)
        return [one for one in self.board.log.operations if one.kind is Kind.WRITE and one.address in place]

    def expect_alarms(self, *names: str) -> None:
        """These alarms on the console belong to the scenario, until the next claim."""
        self.expected_alarms.update(names)

    def environment(self) -> Environment:
        """U-Boot's environment as the card holds it since the last cut."""
        return read_environment(self.board.media.view, self.board.spec.layout)

    def _media_now(self) -> Media:
        """The media as they would be if the power failed now and nothing un-flushed survived."""
        log = self.board.log
        log.poll()
        position = len(log.operations)
        lost = frozenset(one.index for one in open_epoch(log.operations, position, self.board.spec.layout))
        return Media(self.board.media.base, self.board.surviving(CrashPoint(position, lost)))

    def _gather(self, media: Media, *, record: ServerRecord | None, with_data: bool, settled: bool = True) -> Evidence:
        moment = Moment(
            old=self.version, new=self.wanted, server=record, console=self._heard + self._fresh_console(keep=True),
            expected_alarms=self.expected_alarms, settled=settled,
            has_flushes=self._flushes + flushes(self.board.log.operations) > 0,
        )  # fmt: skip
        known = Known(self.board.spec.layout, self._defaults, tuple(self.known_images.values()), keepsakes(self.seed))
        return gather(media.view, known, moment, with_data=with_data)

    def _conclude(self, did: str, evidence: Evidence, media: Media, verdict: Verdict) -> None:
        """Add a row, and begin the next stretch from here."""
        slot = evidence.running
        self.rows.append(
            Row(
                did=did or (self.cuts[-1] if self.cuts else "no cut"),
                booted=f"slot {slot.upper()}, version {evidence.slots[slot] or 'unknown'}" if slot else "nothing",
                slots={
                    name: (evidence.slots[name] or "neither", self._digest(name, evidence, media)) for name in SLOTS
                },
                told=(evidence.server.status if evidence.server else None) or "nothing",
                outcome=verdict.outcome.value,
            )
        )
        self.running = slot or self.running
        self._heard = b""
        self._console_read = len(self.board.console.text)
        self.expected_alarms.clear()

    def _digest(self, slot: Slot, evidence: Evidence, media: Media) -> str:
        image = self.known_images.get(evidence.slots[slot] or "")
        place = self.board.spec.layout.partition(f"rootfs-{slot}")
        return image.sha256 if image else media.view.digest(place.start, self.known_images[FACTORY_VERSION].size)

    def _keep(self, when: str, verdict: Verdict) -> None:
        self.folder.append("verdicts.json", {"when": when, **verdict.as_dict()})
        self.events.emit("verdict", when=when, outcome=verdict.outcome.value, says=verdict.sentence)
        if verdict.outcome is Outcome.VIOLATED:
            raise ClaimViolated(verdict.sentence)
        if verdict.outcome is Outcome.INCONCLUSIVE:
            raise Inconclusive(verdict.sentence)

    def _record(self) -> ServerRecord | None:
        return self.server.record(self.deployment, self.device) if self.deployment else None

    def _fresh_console(self, *, keep: bool = False) -> bytes:
        """What the board has said since the last claim or power-on."""
        fresh = self.board.console.text[self._console_read :]
        if not keep:
            self._console_read += len(fresh)
        return fresh
