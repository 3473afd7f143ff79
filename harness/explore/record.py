# SPDX-License-Identifier: Apache-2.0
"""Recording an update: the log as the board writes it, and the server as it was after each report."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Literal

from harness.clock import Deadline, poll
from harness.errors import Inconclusive
from harness.explore import byhand
from harness.explore.recording import KEY, LOG, MEDIA, SIGNING_KEY, UBOOT, About, Heard, Recording
from harness.explore.replaced import Replaced
from harness.explore.stories import Story
from harness.faults.gate import Gate
from harness.judge import ServerRecord
from harness.lab import Lab
from harness.lab.applications import ApplicationRig
from harness.lab.rig import LOOK_SECONDS
from harness.storage import Kind, Operation, WriteLog, decode, flushes
from images.layout import Layout

GATE_SECONDS = 0.001  # between looks at the log
ANSWER_SECONDS = 0.2  # in which the server has taken what had reached it
REPORT = "report."


class HeardWatch:
    """Looks for the operations that follow a report: by any of them the server may have heard it.

    `asked` is the position right after the mark of a report that is on its way, None if none is.
    """

    def __init__(self, log: WriteLog, layout: Layout, asked: int | None) -> None:
        self.asked = asked
        self.at_mark = False  # the operation that was found names a step, so the report is no longer on its way
        self._log, self._marks = log, layout.marks

    def __call__(self, operation: Operation) -> bool:
        """Whether this operation is one of them."""
        on_strip = operation.kind is Kind.WRITE and operation.address in self._marks
        mark = decode(self._log.data(operation)) if on_strip else None
        if mark is not None and mark.name.startswith(REPORT) and self.asked is None:
            self.asked = operation.index + 1
            return False
        self.at_mark = mark is not None and not mark.name.startswith(REPORT)
        return self.asked is not None


class Recorder:
    """Follows one update on a rig's board, which is held or switched off, and keeps all of it in `folder`."""

    def __init__(self, lab: ApplicationRig, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self._heard: list[Heard] = []
        self._before = lab.board.media  # what the power came on with
        self._began = 0
        if lab.board.on:
            lab.board.log.poll()
            self._began = len(lab.board.log.operations)
        self._started = self._settled = datetime.now(UTC)
        self._looked = self._began  # how far of the log
        self._asked: int | None = None  # where a report began that may not have been heard
        self._permitted: int | None = None  # where a person began to commit
        self._kept: int | None = None  # and where that was done
        self._keep_server(self._began, self._began)

    def follow(self, person: Callable[[Recorder], None] | None = None) -> bool:
        """Until the board has settled; first `person` does what a person does, of which no server hears.

        False: it has not, in the time that there is.
        """
        self._started = datetime.now(UTC)
        since, deadline = self._started, Deadline(self.lab.timeouts.settle)
        if self.lab.board.on:
            self.lab.let_go()
        else:
            self.lab.power_on()
        if person is not None:
            person(self)
        while not self._has_settled(since, deadline):
            if deadline.expired:
                return False
        self._settled = datetime.now(UTC)
        return True

    def permit(self, since: int | None = None) -> None:
        """From here on, or since a position, the new system may be made final."""
        self._permitted = self._position() if since is None else since

    def keep(self, since: int | None = None) -> None:
        """From here on, or since a position, a person knows that it is."""
        self._kept = self._position() if since is None else since

    def _position(self) -> int:
        self.lab.board.log.poll()
        return len(self.lab.board.log.operations)

    def _has_settled(self, since: datetime, deadline: Deadline) -> bool:
        """Follow the board until it has, or until the next operation by which the server may have heard something."""
        lab = self.lab
        watch = HeardWatch(lab.board.log, lab.board.spec.layout, self._asked)
        gate = Gate(watch, lab.board.log, self._looked)
        lab.relay.hold_when(gate)
        try:
            while not poll(gate, Deadline(LOOK_SECONDS), every=GATE_SECONDS):
                if lab.has_settled(since):
                    return True
                if deadline.expired:
                    return False
            lab.hold()
            assert gate.position is not None
            assert watch.asked is not None
            self._looked, self._asked = gate.position, watch.asked
            if self._is_heard() or watch.at_mark:
                self._keep_server(self._asked, self._looked)
                self._asked = None
            lab.let_go()
            return False
        finally:
            lab.relay.release()

    def _is_heard(self) -> bool:
        """Whether the server has heard the report that was on its way; the board is held, and what it sends, too."""
        before = self._heard[-1].record
        changed = poll(lambda: self.lab.record() != before, Deadline(ANSWER_SECONDS), every=GATE_SECONDS)
        return bool(changed)

    def finish(self, story: Story, first: str = "") -> Recording:
        """Switch the board off, and describe what was kept, as this story's; `first`: the cut that it came after.

        Raises:
            Inconclusive: the log holds no flush.
        """
        lab = self.lab
        lab.board.log.poll()
        ended = len(lab.board.log.operations)
        lab.board.kill()
        if not flushes(lab.board.log.operations):
            raise Inconclusive("The write log holds no flush, so nothing is known to have been durable.")
        spec = lab.board.spec
        self._before.view.write_to(self.folder / MEDIA, 0, spec.layout.size)
        shutil.copyfile(lab.board.log.path, self.folder / LOG)
        shutil.copyfile(spec.uboot, self.folder / UBOOT)
        lab.board.key.write_private_key_file(str(self.folder / KEY))
        (self.folder / SIGNING_KEY).write_bytes(lab.catalogue.signing_key())
        about = About(
            story=story.name,
            ends=story.ends,
            by_hand=story.by_hand,
            permitted=self._permitted,
            kept=self._kept,
            first=first,
            replaced=story.replaced,
            seed=lab.seed,
            planted=lab.catalogue.planted,
            began=self._began,
            ended=ended,
            seconds=round((self._settled - self._started).total_seconds(), 1),
            old=lab.version,
            new=lab.wanted,
            images=tuple(lab.known_images.values()),
            layout=spec.layout,
            mac=spec.mac,
            port=lab.relay.port,
            device=lab.device,
            deployment=lab.deployment,
            defaults=lab.defaults,
            heard=tuple(self._heard),
        )
        return Recording.save(self.folder, about)

    def _keep_server(self, asked: int, position: int) -> None:
        folder = f"server-{len(self._heard)}"
        record = self.lab.record() or ServerRecord(None)
        self.lab.server.save(self.folder / folder)
        self._heard.append(Heard(asked, position, record, folder))


def record(lab: Lab, story: Story, folder: Path) -> Recording:
    """Record the story on a new board; the update itself must end as it should.

    Raises:
        ClaimViolated: it ends otherwise.
        Inconclusive: it does not end, or nothing can be said of its log.
    """
    folder.mkdir()
    story.begin(lab)
    recorder = Recorder(lab, folder)
    if not recorder.follow(_by_hand if story.by_hand else None):
        raise Inconclusive("The update that was to be recorded did not come to an end.")
    version, did = lab.version, f"No cut: {story.says}"
    claim_ended(lab, story.replaced, story.ends, did=did)
    lab.version = version
    return recorder.finish(story)


def claim_ended(
    rig: ApplicationRig, replaced: Replaced | None, expect: Literal["old", "new", "either"], *, did: str = ""
) -> None:
    """The system, or the application that is replaced, is as expected once the board has settled.

    Raises:
        ClaimViolated, Inconclusive: as the rig's own claims.
    """
    if replaced:
        rig.claim_application(expect, did=did)
    else:
        rig.claim(expect, did=did)


def _by_hand(recorder: Recorder) -> None:
    """The whole of an update by hand."""
    byhand.install(recorder.lab)
    recorder.permit()
    byhand.commit(recorder.lab)
    recorder.keep()
