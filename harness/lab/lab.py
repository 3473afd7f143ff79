# SPDX-License-Identifier: Apache-2.0
"""The laboratory: the verbs of a scenario, each of which leaves its trace in the run folder.

    join · deploy · cut_power · power_on · claim        (and at, abort, break_line, configure, put, reset, run ...)

A claim that does not hold is raised at once; a fault that did not fire is `Inconclusive`, never green.
"""

from __future__ import annotations

from harness.clock import Deadline, poll
from harness.errors import GuestFault, Inconclusive
from harness.faults.gate import Gate
from harness.faults.power import Moment, Watch, area, now, writes
from harness.judge import Outcome, judge_cut
from harness.lab.damage import DamageRig
from harness.lab.line import OTHER
from harness.lab.rig import LOOK_SECONDS
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
from images.layout import SECTOR

MIB = 1024 * 1024
PAGE, LARGE = 4096, MIB // 8  # bytes; the kernel cuts and merges what it is given
CHECKPOINT, FLUSHES = 8 * MIB, 4  # how far a download comes between two of its records, and what each may cost
TEXT_SECTORS = 3  # of an environment copy are full of text; what follows is padding, and tearing it changes nothing
SEEDS = 16  # how many are tried for one that loses something


class Lab(DamageRig):
    """A judged rig whose power can be cut.  `close` leaves nothing behind but the run folder."""

    # -- the power cut -------------------------------------------------------------------------------------------

    def cut_power(self, at: Moment, *, lose: Lose = "some", tear: bool = False, says: str = "") -> CrashPoint:
        """Cut the power at a moment; what was not flushed is lost as the seed says.  The media are judged at once.

        What the board sends after a moment in the log never reaches the server.

        Raises:
            Inconclusive: the moment did not come; or it was one on the console, and the board reported something after.
            ClaimViolated: the media are not as they must be at every moment.
        """
        moment = at.within(f"rootfs-{OTHER[self.running]}")
        what = says or f"Cut the power {at}"
        with self.events.step(what):
            position = self._stop_at(moment, Deadline(self.timeouts.fault))
            if position is None:
                self._must_be_on()
                self.board.kill()
                raise Inconclusive(f"The power cut did not happen: the board never came to the moment {at}.")
            seed = self.random.getrandbits(32)
            before = self.environment()
            point = self.board.cut_power(lambda log: self._chosen(log, position, lose, seed, tear))
        beyond = self._note_cut(what, at, point, before.as_dict())
        self._heard = self._listen()
        self._console_read = self._listened
        reported = [name for name in beyond if name.startswith("report.")]
        self._judge_cut(what, told_later=[] if moment.in_log else reported)
        if tear:
            self._must_have_torn(point)
        return point

    def switch_off(self, says: str) -> None:
        """Pull the plug of a board that is at rest."""
        self.cut_power(now(), lose="unflushed", says=says)

    def _judge_cut(self, what: str, *, told_later: list[str]) -> None:
        """Judge the media as they are now.

        What the board told the server after the moment of the cut would not have been told: then the server's record
        says nothing of the moment, and all that it does not matter for still has to hold.
        """
        record = None if told_later else self.record()
        evidence = self._gather(self.board.media, record=record, with_data=False)
        verdict = judge_cut(evidence)
        if verdict.outcome is Outcome.VIOLATED:
            self.rows.append(self._row(what, "not tried", evidence, self.board.media, verdict))
        self._keep("after the cut", verdict)
        if told_later:
            raise Inconclusive(f"The board went on to '{told_later[-1]}' before it could be stopped.", "Run it again.")

    def cut_inside_env_write(self, *, after: str | None = None, number: int = 1, says: str) -> CrashPoint:
        """Cut the power inside an environment write, within a sector that holds text.

        It is the `number`-th write of a copy since a mark, or since the power came on.
        """
        sector = (number - 1) * self._env_sectors + self.random.randint(1, TEXT_SECTORS)
        return self.cut_power(writes(sector, to="card", after=after), tear=True, says=says)

    def cut_after_env_write(self, *, after: str, says: str) -> CrashPoint:
        """Cut the power right after the last sector of the environment write that follows a mark."""
        return self.cut_power(writes(self._env_sectors, to="card", after=after), lose="unflushed", says=says)

    @property
    def _env_sectors(self) -> int:
        """How many writes, of a sector each, one copy takes."""
        return self.board.spec.layout.env_size // SECTOR

    def _chosen(self, log: list[Operation], position: int, lose: Lose, seed: int, tear: bool) -> CrashPoint:
        """The crash point that the seed says; if writes may be lost, at least one is."""
        layout = self.board.spec.layout
        for again in range(SEEDS):
            point = choose(log, position, layout, lose=lose, seed=seed + again, tear=tear)
            if point.lost or lose == "nothing" or not open_epoch(log, position, layout):
                break
        return point

    def _must_have_torn(self, point: CrashPoint) -> None:
        """A torn environment write must leave the copy that was being written invalid, or the fault was none."""
        if point.torn is None:
            raise Inconclusive("The cut tore nothing: the last write cannot be torn.")
        layout = self.board.spec.layout
        place = self.board.log.operations[point.position - 1].address - layout.card.start
        for copy, offset in zip(self.environment().copies, layout.env_offsets, strict=True):
            if offset <= place < offset + layout.env_size and copy.valid:
                raise Inconclusive("The cut tore nothing that matters: the copy that was being written is valid.")

    def _stop_at(self, moment: Moment, deadline: Deadline) -> int | None:
        """Stop the board at the moment; returns the log's position there, None if the moment did not come."""
        if moment.in_log:
            return self._stop_held(moment, deadline)
        try:
            if moment.shows is not None:
                self.board.console.expect(moment.shows, deadline)
        except GuestFault:
            return None
        self.board.log.poll()
        position = len(self.board.log.operations)
        self.board.kill()
        return position

    def _stop_held(self, moment: Moment, deadline: Deadline) -> int | None:
        """Stop the board at a moment in the log; what it sends after that is held, and lost with it."""
        log = self.board.log
        gate = Gate(Watch(moment, log, self.board.spec.layout), log, len(log.operations))
        self.relay.hold_when(gate)
        try:
            if self.board.stop_when(gate, deadline):
                self.relay.hang_up()
        finally:
            self.relay.release()
        return gate.position

    def _note_cut(self, what: str, at: Moment, point: CrashPoint, before: object) -> list[str]:
        """Keep the cut in the run folder; returns the steps that the board went on to before it stopped."""
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
        return beyond

    def _keep_summary(self) -> None:
        """What the log of this power-on holds, in short."""
        self.board.log.poll()
        self.folder.write(f"writelog-{self.board.power_ons}.json", summary(self.board.log, self.board.spec.layout))

    def close(self) -> None:
        """End everything; the last log is kept in short, too."""
        try:
            if self.board.power_ons:
                self.board.kill()
                self._keep_summary()
        finally:
            super().close()

    # -- what the log shows ---------------------------------------------------------------------------------------

    def claim_untouched(self, name: str) -> None:
        """Nothing has been written to an area since the page was turned, or power-on."""
        written = sum(one.length for one in self._writes_to(name))
        self.claim_that(written == 0, f"nothing has been written to {name} ({written} bytes have)")

    def claim_written_once(self, name: str) -> None:
        """No byte of an area has been written twice since the page was turned, or power-on."""
        written = self._writes_to(name)
        total = sum(one.length for one in written)
        distinct = ExtentMap(Extent(one.address, one.length, self.board.log.path, one.offset) for one in written).bytes
        self.claim_that(0 < total == distinct, f"{name} was written once ({total} bytes, {distinct} of them distinct)")

    def claim_written_well(self, name: str) -> None:
        """An area was written in large aligned pieces, and flushed often enough to go on after a cut, but no oftener.

        Often enough is once in 8 MiB; each time the slot and the record of how far it has come are flushed, and some
        flushes are the file system's own.
        """
        written = self._writes_to(name)
        total = sum(one.length for one in written)
        crooked = sum(one.address % PAGE > 0 or one.length % PAGE > 0 for one in written)
        mean = total // max(1, len(written))
        self.claim_that(
            not crooked and mean >= LARGE,
            f"{name} was written in large aligned pieces (of {mean} bytes on average, {crooked} of them not aligned)",
        )
        first, last = written[0].index, written[-1].index
        count = flushes([one for one in self.board.log.operations if first <= one.index <= last])
        limit = FLUSHES * (total // CHECKPOINT + 1)
        self.claim_that(count <= limit, f"{count} flushes were made for {total} bytes, at most {limit}")

    def claim_resumed_by_range(self) -> None:
        """Since the deployment the server was asked for the artifact's beginning once, and for the rest by range."""
        asked = [entry["range"] for entry in self.server.journal(self._asked) if "/download" in entry["path"]]
        good = len(asked) > 1 and not asked[0] and all(asked[1:])
        self.claim_that(good, f"the rest of the artifact was asked for by range ({asked})")

    def claim_tries_again(self, within: float) -> None:
        """Once the line has broken, the board tries it anew within so many seconds.

        Raises:
            Inconclusive: the line never broke.
            ClaimViolated: the board does not.
        """
        self.wait_broken()
        tried = poll(lambda: self.relay.turned_away > 0, Deadline(within), every=LOOK_SECONDS)
        self.claim_that(bool(tried), f"the board tries the broken line anew within {within:.0f} s")

    def claim_hangs(self, seconds: float) -> None:
        """The line is whole again, and for so long the board asks for nothing.

        Raises:
            ClaimViolated: it does.
        """
        before = self._last_request()
        with self.events.step(f"Wait {seconds:.0f} s for the device to ask for anything"):
            asked = poll(lambda: self._last_request() > before, Deadline(seconds), every=LOOK_SECONDS)
        self.claim_that(not asked, f"the board has asked for nothing within {seconds:.0f} s of a line that is whole")

    def _writes_to(self, name: str) -> list[Operation]:
        self.board.log.poll()
        place = area(self.board.spec.layout, name)
        since = self.board.log.operations[self._began :]
        return [one for one in since if one.kind is Kind.WRITE and one.address in place]
