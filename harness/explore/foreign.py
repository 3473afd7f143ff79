# SPDX-License-Identifier: Apache-2.0
"""Somebody else's update: commands are typed on the board, and it is judged by its media and its console alone.

Which slot runs is asked of the board's kernel: the partition that its root file system is on.  A board has settled
once it is up, the command for after a start has ended without another start, and the check has been made.
"""

from __future__ import annotations

import contextlib
import re
import shutil
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final

import paramiko

from harness.board import Board, BoardSpec
from harness.board.keyboard import Keyboard, Typed
from harness.board.machine import Media
from harness.clock import Deadline
from harness.errors import ClaimViolated, GuestFault, HostProblem, Inconclusive, UsageError
from harness.evidence import Events, RunFolder
from harness.evidence.events import Listener
from harness.explore.commands import Commands
from harness.explore.recording import LOG, MEDIA, UBOOT, About, Recording
from harness.explore.way import unused
from harness.judge import SLOTS, Outcome, Slot, Verdict, judge_settled
from harness.judge.verdict import Expectation, conclude, decide
from harness.lab.observe import Known, Observed, gather, media_now
from harness.lab.rig import NEEDED_BYTES
from harness.storage import flushes

OLD: Final = "old"
NEW: Final = "new"
STARTS: Final = 12  # more than these, and the board is taken to start anew for ever
SAID: Final = 300  # characters of what a command printed
# The root file system's device is the third word of its line; the kernel knows which partition that is.
WHERE: Final = (
    "while read -r a b device c place rest; do "
    'if [ "$place" = / ]; then echo "root on $(cat /sys/dev/block/$device/partition)."; fi; done </proc/self/mountinfo'
)
ROOT: Final = re.compile(r"root on (\d+)\.")


class ForeignRig:
    """One board with its commands; `patience` in seconds."""

    def __init__(self, about: About, board: Board, folder: RunFolder, events: Events, patience: float) -> None:
        assert about.commands is not None
        self.about, self.board, self.folder, self.events = about, board, folder, events
        self.commands: Commands = about.commands
        self.first: Slot | None = None  # that came up after the power came on
        self.running: Slot | None = None  # that came up last
        self._held: Mapping[Slot, str | None] = {}  # what the slots hold, once that has been looked at
        self._patience = patience
        self._heard = 0  # how much of the console belongs to what was before
        self._checked: Typed | None = None

    def power_on(self) -> None:
        """Switch the board on; the time that it is given begins.

        Raises:
            HostProblem: it could not write as much as it may.
        """
        if shutil.disk_usage(self.folder.path).free < NEEDED_BYTES:
            raise HostProblem(f"The disk that holds {self.folder.path} is full.", "Free some space, or use --runs.")
        self.events.emit("power-on", number=self.board.power_ons + 1)
        self.board.power_on()
        self.folder.write(f"argv-{self.board.power_ons}.json", self.board.argv)
        self._keyboard = Keyboard(self.board.console, self.commands.ready)
        self._deadline = Deadline(self._patience)

    def wait_up(self) -> None:
        """Wait until the board, which has just been switched on, is up; what it has said so far is not judged."""
        with self._typing("Wait until the board is up"):
            self._keyboard.wait_ready(self._deadline)
        self._heard = len(self.board.console.text)

    def install(self) -> None:
        """Have the board, which is up, installed and started anew.

        Raises:
            UsageError: the command fails, so there is no update to explore.
        """
        done = self._type(self.commands.run)
        if done is None:
            return
        if done.code:
            said = f"'{self.commands.run}' ended with {done.code} when nothing was cut: {done.printed[-SAID:].strip()}"
            raise UsageError(said, "Correct the command, or the image; only an update that works can be explored.")
        self._keyboard.reboot(self._deadline)

    def recover(self, records: Path | None = None, first: str = "") -> None:
        """Switch the board on after a cut, and see that it comes to the old or the new system, and all in order.

        Args:
            records: the folder in which the recovery is kept as a recording, if it is wanted.
            first: the crash ID of the cut.

        Raises:
            GuestFault, ClaimViolated, Inconclusive: it does not, or nothing can be said.
        """
        before, since = self.board.media, time.monotonic()
        self.power_on()
        self.settle()
        seconds = time.monotonic() - since
        self.judge("either")
        if records is not None:
            records.mkdir(parents=True)
            self.keep(records, 0, before, seconds, first)

    def settle(self) -> None:
        """Wait until the board, which is starting, has settled.

        Raises:
            GuestFault: it does not.
        """
        with self._typing("Wait until the board has settled"):
            for _ in range(STARTS):
                self._keyboard.wait_ready(self._deadline)
                if self._look_after():
                    return
            raise GuestFault(f"The board started {STARTS} times and did not settle.")

    @contextlib.contextmanager
    def _typing(self, says: str) -> Iterator[None]:
        """Whose fault it is that no answer comes: the board's, unless QEMU has failed."""
        try:
            with self.events.step(says):
                yield
        except GuestFault as error:
            if self.board.on or self.board.switched_itself_off:
                raise
            said = f"QEMU has ended by itself: {self.board.said()}"
            raise HostProblem(said, "See qemu.log in the run folder.") from error

    def judge(self, expect: Expectation) -> Verdict:
        """Judge the settled board as it would be if the power failed now.

        Raises:
            ClaimViolated: it is not as expected, or something of it is not whole.
        """
        about = self.about
        console = self.board.console.text[self._heard :]
        # That the update was flushed at all is seen when it is recorded; a recovery need not write.
        observed = Observed(OLD, NEW, None, console, self.running, expected_alarms=())
        evidence = gather(
            media_now(self.board).view, Known(about.layout, about.defaults, about.images, {}), observed, with_data=True
        )
        self._held = evidence.slots
        findings = [*judge_settled(evidence, expect=expect).findings]
        if self._checked is not None:
            code, said = self._checked.code, self._checked.printed[-SAID:].strip()
            findings.append(
                decide("check", code == 0, "The check holds.", f"The check ended with {code} on the board: {said!r}")
            )
        verdict = conclude(evidence, findings)
        self.folder.append("verdicts.json", {"when": "settled", **verdict.as_dict()})
        self.events.emit("verdict", when="settled", outcome=verdict.outcome.value, says=verdict.sentence)
        if verdict.outcome is Outcome.VIOLATED:
            raise ClaimViolated(verdict.sentence)
        return verdict

    def seen(self) -> Mapping[str, Any]:
        """What came up first, what there was in the end, and the slot that was not used if that is the old one."""
        about, board = self.about, self.board
        held = {slot: name for slot, name in self._held.items() if name in (OLD, NEW)}
        ended = held.get(self.running) if self.running else None
        spare = unused(board.log, board.media.view, about.layout, about.defaults) if ended == OLD else None
        return {"started": held.get(self.first) if self.first else None, "ended": ended, "unused": spare}

    def keep(self, folder: Path, began: int, before: Media, seconds: float, first: str = "") -> Recording:
        """Switch the board off, and keep its last power-on as a recording in `folder`; `before` is what it began with,
        and `first` the cut that it came after.

        Raises:
            Inconclusive: the log holds no flush.
        """
        log = self.board.log
        log.poll()
        ended = len(log.operations)
        self.board.kill()
        if not flushes(log.operations):
            raise Inconclusive("The write log holds no flush, so nothing is known to have been durable.")
        for name, source in ((LOG, log.path), (UBOOT, self.board.spec.uboot)):
            if source != folder / name:
                shutil.copyfile(source, folder / name)
        if before.base != folder / MEDIA:
            before.view.write_to(folder / MEDIA, 0, self.about.layout.size)
        about = replace(self.about, began=began, ended=ended, seconds=round(seconds, 1), first=first)
        return Recording.save(folder, about)

    def _look_after(self) -> bool:
        """See which slot runs, and type what is typed after a start, and the check; False if the board starts anew."""
        where = self._type(WHERE)
        if where is None:
            return False
        found = ROOT.search(where.printed)
        if found is None or not 1 <= int(found.group(1)) <= len(SLOTS):
            raise GuestFault(f"The board does not say that its root file system is in a slot: {where.printed!r}")
        self.running = SLOTS[int(found.group(1)) - 1]
        self.first = self.first or self.running
        if self.commands.then and self._type(self.commands.then) is None:
            return False
        if self.commands.check:
            self._checked = self._type(self.commands.check)
            return self._checked is not None
        return True

    def _type(self, command: str) -> Typed | None:
        with self._typing(f"On the board: {command}"):
            done = self._keyboard.run(command, self._deadline)
        self.folder.append(
            "typed.json", {"command": command, "code": done and done.code, "says": done and done.printed}
        )
        return done


@contextlib.contextmanager
def foreign_rig(
    about: About, spec: BoardSpec, media: Media, run: RunFolder, patience: float, *listeners: Listener
) -> Iterator[ForeignRig]:
    """A rig with a board that has these media, and is still off."""
    with (
        contextlib.closing(Events(run / "events.jsonl", listeners)) as events,
        contextlib.closing(Board(spec, media, run.path, paramiko.ECDSAKey.generate())) as board,
    ):
        yield ForeignRig(about, board, run, events, patience)
