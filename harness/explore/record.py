# SPDX-License-Identifier: Apache-2.0
"""Recording an update: the log as the board writes it, and the server as it was after each report."""

from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

from harness.clock import Deadline, poll
from harness.errors import Inconclusive
from harness.explore.recording import KEY, LOG, MEDIA, UBOOT, About, Heard, Recording
from harness.explore.stories import Story
from harness.faults.gate import Gate
from harness.judge import ServerRecord
from harness.lab import Lab
from harness.lab.rig import LOOK_SECONDS
from harness.storage import Kind, Operation, WriteLog, decode, flushes
from images.layout import Layout

GATE_SECONDS = 0.001  # between looks at the log
REPORT = "report."


class HeardWatch:
    """Looks for the first step after a report: then the server has surely heard it, and nothing that follows."""

    def __init__(self, log: WriteLog, layout: Layout) -> None:
        self.asked: int | None = None  # the position right after the report's own mark
        self._log, self._marks = log, layout.marks

    def __call__(self, operation: Operation) -> bool:
        """Whether this operation is that step."""
        if operation.kind is not Kind.WRITE or operation.address not in self._marks:
            return False
        mark = decode(self._log.data(operation))
        if mark is None:
            return False
        if mark.name.startswith(REPORT):
            self.asked = self.asked or operation.index + 1
            return False
        return self.asked is not None


class Recorder:
    """Follows one update on a laboratory's board, which is held or switched off, and keeps all of it in `folder`."""

    def __init__(self, lab: Lab, folder: Path) -> None:
        self.lab, self.folder = lab, folder
        self._heard: list[Heard] = []
        self._before = lab.board.media  # what the power came on with
        self._began = 0
        if lab.board.on:
            lab.board.log.poll()
            self._began = len(lab.board.log.operations)
        self._keep_server(self._began, self._began)

    def follow(self) -> None:
        """Until the board has settled.

        Raises:
            Inconclusive: it does not.
        """
        since, deadline = datetime.now(UTC), Deadline(self.lab.timeouts.settle)
        if self.lab.board.on:
            self.lab.let_go()
        else:
            self.lab.power_on()
        start: int | None = self._began
        while start is not None:
            start = self._keep_next_report(start, since, deadline)

    def _keep_next_report(self, start: int, since: datetime, deadline: Deadline) -> int | None:
        """Keep the server as it is after the next report; where the log is then, or None once the board has settled."""
        lab = self.lab
        watch = HeardWatch(lab.board.log, lab.board.spec.layout)
        gate = Gate(watch, lab.board.log, start)
        lab.relay.hold_when(gate)
        try:
            while not poll(gate, Deadline(LOOK_SECONDS), every=GATE_SECONDS):
                if lab.has_settled(since):
                    return None
                if deadline.expired:
                    raise Inconclusive("The update that was to be recorded did not come to an end.")
            lab.hold()
            assert gate.position is not None
            assert watch.asked is not None
            self._keep_server(watch.asked, gate.position)
            lab.let_go()
            return gate.position
        finally:
            lab.relay.release()

    def finish(self, story: Story) -> Recording:
        """Switch the board off, and describe what was kept.

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
        about = About(
            story=story.name,
            seed=lab.seed,
            planted=lab.catalogue.planted,
            began=self._began,
            ended=ended,
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
    story.begin(lab, story.version)
    recorder = Recorder(lab, folder)
    recorder.follow()
    version = lab.version
    lab.claim(story.ends, did=f"No cut: {story.says}")
    lab.version = version
    return recorder.finish(story)
