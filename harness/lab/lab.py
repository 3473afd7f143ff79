# SPDX-License-Identifier: Apache-2.0
"""The laboratory itself: the verbs of a scenario, each of which leaves its trace in the run folder.

    power_on · deploy · cut_power · settle · claim        (and reset, soft_reboot, break_download, run)

A claim that does not hold is raised at once; a fault that did not fire is `Inconclusive`, never green.
"""

from __future__ import annotations

import random
from dataclasses import dataclass

from harness.board import Board, BoardSpec
from harness.board.machine import Media
from harness.clock import Deadline, pause, poll
from harness.errors import ClaimViolated, Inconclusive
from harness.evidence import Events, Row, RunFolder
from harness.faults.network import Relay
from harness.faults.power import Moment as When
from harness.faults.power import Watch
from harness.judge import (
    SLOTS,
    Environment,
    Evidence,
    KnownImage,
    Outcome,
    ServerRecord,
    Slot,
    Verdict,
    judge_cut,
    judge_settled,
    parse_text,
    read_environment,
)
from harness.judge.verdict import Expectation
from harness.lab.device import Trust, keepsakes, mac_of, provisioned, ssh_identity
from harness.lab.observe import Known, Moment, gather
from harness.server import Server
from harness.storage import CrashPoint, Lose, choose, flushes, marks, open_epoch
from images.catalogue import FACTORY_VERSION, Catalogue

OTHER: dict[Slot, Slot] = {"a": "b", "b": "a"}
LOOK_SECONDS = 0.05  # between looks at the server


@dataclass(frozen=True)
class Timeouts:
    """How long to wait before giving up, in seconds; generous, because nothing is judged by them."""

    up: float = 60.0
    fault: float = 90.0
    settle: float = 150.0


class Lab:
    """One board with its server.  `close` leaves nothing behind but the run folder."""

    def __init__(self, catalogue: Catalogue, folder: RunFolder, events: Events, seed: int) -> None:
        self.catalogue, self.folder, self.events, self.seed = catalogue, folder, events, seed
        self.timeouts = Timeouts()
        self.random = random.Random(seed)
        self.rows: list[Row] = []
        self.cuts: list[str] = []
        self.version, self.wanted = FACTORY_VERSION, FACTORY_VERSION  # what ran last, what is deployed
        self.running: Slot = "a"  # the slot that came up last
        self.deployment = self.device = ""
        self._flushes = self._deployments = 0
        self._heard = b""  # what earlier power-ons said since the last claim
        self._console_read = 0
        self._expected_alarms: set[str] = set()
        self._uploaded: set[str] = set()
        self._images: dict[str, KnownImage] = {}
        self._defaults = parse_text(catalogue.default_environment())
        self._know(FACTORY_VERSION)
        with events.step("Start the server and provision a board"):
            self.server = Server(folder.path)
            self.relay = Relay(self.server.port)
            self.board = self._board()

    def _board(self) -> Board:
        key, line = ssh_identity()
        trust = Trust(
            server_port=self.relay.port,
            server_ca=self.server.ca.read_bytes(),
            verify_key=self.catalogue.verify_key(),
            ssh_key=line,
            device_type=self.catalogue.device_type,
        )
        layout = self.catalogue.layout
        media = provisioned(self.catalogue.board_image(), layout, trust, self.seed, self.folder.path)
        spec = BoardSpec(uboot=self.catalogue.uboot(), mac=mac_of(self.seed), layout=layout)
        return Board(spec, media, self.folder.path, key)

    def close(self) -> None:
        """End the board, the network and the server, in this order."""
        self.board.close()
        self.relay.close()
        self.server.close()

    # -- the board -----------------------------------------------------------------------------------------------

    def power_on(self, off_for: float = 0.0) -> None:
        """Switch the board on, after `off_for` seconds without power."""
        if off_for:
            pause(off_for)
        self.events.emit("power-on", number=self.board.power_ons + 1)
        self._console_read = 0
        self.board.power_on()
        self.folder.write("argv.json", self.board.argv)

    def wait_up(self) -> Slot:
        """Wait until a slot has come up; returns the slot."""
        with self.events.step("Wait for a system to come up"):
            found = self.board.console.expect(r"is up on /dev/vda([12])\b", Deadline(self.timeouts.up))
        slot = SLOTS[int(found.group(1)) - 1]
        self.events.emit("up", slot=slot)
        return slot

    def join(self) -> None:
        """Switch a new board on and accept it on the server."""
        self.expect_alarms("bad-environment")  # the card of a new board is empty
        self.power_on()
        self.wait_up()
        with self.events.step("Accept the device on the server"):
            self.device = self.server.accept(Deadline(self.timeouts.up))

    def run(self, command: str) -> str:
        """Run a command on the board and return what it printed."""
        with self.events.step(f"On the board: {command}"), self.board.shell() as shell:
            return shell.run(command, Deadline(self.timeouts.up))

    def soft_reboot(self) -> None:
        """The guest asks for it."""
        self.events.emit("soft-reboot")
        self.board.soft_reboot(Deadline(self.timeouts.up))

    def reset(self) -> None:
        """The button: memory and caches of the devices survive."""
        self.events.emit("reset")
        self.board.reset()

    # -- the update ----------------------------------------------------------------------------------------------

    def deploy(self, version: str, *, signer: str = "release") -> None:
        """Have the server deploy a version to this board."""
        artifact = self.catalogue.artifact(version, signer)
        name = self.catalogue.artifact_name(version)
        with self.events.step(f"Deploy version {version}" + ("" if signer == "release" else f", signed by a {signer}")):
            if name not in self._uploaded:
                self.server.upload(artifact)
                self._uploaded.add(name)
            self._know(version)
            self.wanted = version
            self._deployments += 1
            self.deployment = self.server.deploy(f"{name} ({self._deployments})", name, self.device)

    def break_download(self, received: int) -> None:
        """Break the connection that brings the board `received` bytes, and keep the line down until `heal`."""
        self.events.emit("fault", says=f"The line breaks after {received} bytes and stays down")
        self.relay.break_after(received)

    def heal_network(self) -> None:
        """The line works again.

        Raises:
            Inconclusive: it never broke.
        """
        if not self.relay.broke.wait(self.timeouts.fault):
            raise Inconclusive("The line was never broken: the board did not download as much as was expected.")
        self.relay.heal()
        self.events.emit("healed", says="The line works again")

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
            watch = Watch(moment, self.board.log, self.board.spec.layout)
            position = self.board.stop_when(watch, Deadline(self.timeouts.fault))
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

    def _note_cut(self, what: str, at: When, point: CrashPoint, before: object) -> None:
        log, layout = self.board.log, self.board.spec.layout
        beyond = [mark.name for position, mark in marks(log, layout) if position > point.position]
        self.cuts.append(what)
        self._flushes += flushes(log.operations[: point.position])
        cut = {
            "number": len(self.cuts), "power_on": self.board.power_ons, "says": what, "at": str(at), "point": str(point),
            "unflushed": len(open_epoch(log.operations, point.position, layout)), "lost": len(point.lost),
            "torn": point.torn, "operations": len(log.operations), "beyond": beyond,
            "media": self.board.media.extents.digest(),
        }  # fmt: skip
        self.events.emit("cut", **{name: cut[name] for name in ("number", "at", "unflushed", "lost", "torn")})
        self.folder.append("cuts.json", cut)
        after = self.environment().as_dict()
        self.folder.write(f"environment-{len(self.cuts)}.json", {"before": before, "after": after})
        # What the board told the server after the moment of the cut would not have been told.
        if any(name.startswith("report.") for name in beyond):
            raise Inconclusive(f"The board went on to '{beyond[-1]}' before it could be stopped.", "Run it again.")

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
            raise ClaimViolated(f"Slot {slot} came up with {evidence.slots[slot]}, which is not {self.wanted} on trial.")
        return verdict

    def expect_alarms(self, *names: str) -> None:
        """These alarms on the console belong to the scenario, until the next claim."""
        self._expected_alarms.update(names)

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
            expected_alarms=self._expected_alarms, settled=settled,
            has_flushes=self._flushes + flushes(self.board.log.operations) > 0,
        )  # fmt: skip
        known = Known(self.board.spec.layout, self._defaults, tuple(self._images.values()), keepsakes(self.seed))
        return gather(media.view, known, moment, with_data=with_data)

    def _conclude(self, did: str, evidence: Evidence, media: Media, verdict: Verdict) -> None:
        """Add a row, and begin the next stretch from here."""
        slot = evidence.running
        self.rows.append(
            Row(
                did=did or (self.cuts[-1] if self.cuts else "no cut"),
                booted=f"slot {slot.upper()}, version {evidence.slots[slot] or 'unknown'}" if slot else "nothing",
                slots={name: (evidence.slots[name] or "neither", self._digest(name, evidence, media)) for name in SLOTS},
                told=(evidence.server.status if evidence.server else None) or "nothing",
                outcome=verdict.outcome.value,
            )
        )
        self.running = slot or self.running
        self._heard = b""
        self._console_read = len(self.board.console.text)
        self._expected_alarms.clear()

    def _digest(self, slot: Slot, evidence: Evidence, media: Media) -> str:
        image = self._images.get(evidence.slots[slot] or "")
        place = self.board.spec.layout.partition(f"rootfs-{slot}")
        return image.sha256 if image else media.view.digest(place.start, self._images[FACTORY_VERSION].size)

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

    def _know(self, version: str) -> None:
        if version not in self._images:
            self._images[version] = KnownImage(version, *self.catalogue.slot_image(version))
