# SPDX-License-Identifier: Apache-2.0
"""Booting one crash point: the very disk, the server as it was at that moment, and what becomes of both."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import paramiko

from harness.board import Board
from harness.board.machine import Media
from harness.errors import ClaimViolated, GuestFault, Inconclusive
from harness.evidence import Events, RunFolder
from harness.evidence.events import Listener
from harness.explore import byhand
from harness.explore.foreign import ForeignRig, foreign_rig
from harness.explore.record import Recorder, claim_ended
from harness.explore.recordedcatalogue import RecordedCatalogue
from harness.explore.recording import KEY, About, Heard, Recording
from harness.explore.stories import story
from harness.explore.touched import Touched
from harness.explore.way import unused, wrong_flip
from harness.faults.network import Relay
from harness.judge import SLOTS, KnownImage, Outcome
from harness.lab.applications import ApplicationRig
from harness.lab.observe import UP
from harness.lab.rig import Parts, Timeouts
from harness.server import Server
from harness.storage import CrashPoint, crash_extents
from images.catalogue import Catalogue

FOLLOWING = "c"  # the good version that comes after
TOUCHED = "touched"
NEXT_APPLICATION = "two"  # and that of an application which is not that one already
PATIENCE, TIMES = 90.0, 4.0  # a board has so many seconds to settle, and this many times what the update took


@dataclass(frozen=True)
class Task:
    """One crash point to boot, by its `number`.  `follows`: the next good update must succeed, too.

    `keeps`: disk and log stay in the run folder, whatever becomes of it.  `records`: the folder in which the recovery
    is kept as a recording, of the cut that has the crash ID `first`; no update follows then.
    """

    number: int
    recording: str
    point: str
    heard: int  # which of the recording's
    runs: str  # where the run folder goes
    follows: bool = False
    keeps: bool = False
    records: str = ""
    first: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@dataclass(frozen=True)
class Booted:
    """What became of it.

    Attributes:
        outcome: held, violated or inconclusive; `says` is the reason in one sentence.
        started: the image of the slot that came up first (None: unknown).
        ended: whether there was the old or the new one in the end (None: neither).
        told: the server's last status.
        seconds: from power-on until the board had settled.
        unused: the slot that was never to be booted, if the other one runs in the end.
        folder: of the run; `TOUCHED` in it is what the recovery has read and written, if it held.
    """

    point: str
    heard: int
    outcome: str
    says: str
    started: str | None = None
    ended: str | None = None
    told: str | None = None
    seconds: float = 0.0
    unused: str | None = None
    folder: str = ""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


@contextlib.contextmanager
def revived(
    recording: Recording, point: CrashPoint, heard: Heard, folder: RunFolder, *listeners: Listener
) -> Iterator[ApplicationRig]:
    """A rig with the disk that the cut leaves, and the server of that moment; the board is still off.

    It listens on the port of the recording, so there can be one at a time in a network namespace.
    """

    def start(_: Catalogue, run: RunFolder, __: int) -> Parts:
        with contextlib.ExitStack() as undo:
            server = Server(run.path, state=recording.folder / heard.folder)
            undo.callback(server.close)
            relay = Relay(server.port, about.port)
            undo.callback(relay.close)
            key = paramiko.ECDSAKey.from_private_key_file(str(recording.folder / KEY))
            media = Media(recording.media.base, crash_extents(recording.log, point, about.layout))
            board = Board(recording.board, media, run.path, key)
            undo.callback(board.close)
            return Parts(server, relay, board, undo.pop_all())

    about = recording.about
    with (
        contextlib.closing(Events(folder / "events.jsonl", listeners)) as events,
        contextlib.closing(
            ApplicationRig(RecordedCatalogue(recording, folder.path), folder, events, about.seed, start)
        ) as rig,
    ):
        rig.timeouts = Timeouts(settle=PATIENCE + TIMES * about.seconds)
        rig.version, rig.wanted = about.old, about.new
        rig.device, rig.deployment = about.device, about.deployment
        rig.known_images.update({image.name: image for image in about.images})
        if about.replaced:
            rig.take_up(about.replaced.old, about.replaced.new, recording.media)
        yield rig


@contextlib.contextmanager
def foreign_revived(recording: Recording, point: CrashPoint, folder: RunFolder) -> Iterator[ForeignRig]:
    """The same with somebody else's update, which has no server."""
    about = recording.about
    media = Media(recording.media.base, crash_extents(recording.log, point, about.layout))
    with foreign_rig(about, recording.board, media, folder, PATIENCE + TIMES * about.seconds) as rig:
        yield rig


@dataclass(frozen=True)
class _Revival:
    """What is done with a revived board: it recovers, and the next good update follows; and what was seen of it."""

    board: Board
    recover: Callable[[], None]
    follow: Callable[[], None]
    seen: Callable[[], Mapping[str, Any]]


@contextlib.contextmanager
def _revival(recording: Recording, task: Task, folder: RunFolder) -> Iterator[_Revival]:
    about, point = recording.about, CrashPoint.parse(task.point)
    if about.commands is None:
        with revived(recording, point, about.heard[task.heard], folder) as rig:
            recover, follow = partial(_recover, rig, recording, task), partial(_follow, rig, about)
            yield _Revival(rig.board, recover, follow, partial(_seen, rig, about))
        return
    with foreign_revived(recording, point, folder) as foreign:
        # Nobody knows where another update of somebody else's would come from.
        yield _Revival(foreign.board, partial(_recover_foreign, foreign, task), lambda: None, foreign.seen)


def boot(task: Task) -> Booted:
    """Boot one crash point, and say what became of it.

    Raises:
        HostProblem, HarnessBug: this machine or the harness is at fault.
    """
    recording = Recording(Path(task.recording))
    folder = RunFolder(Path(task.runs), f"boot-{task.number}", recording.about.seed)
    told = Booted(task.point, task.heard, Outcome.HELD.value, "", folder=str(folder.path))
    with _revival(recording, task, folder) as revival:
        revival.board.traced = True
        began = time.monotonic()
        try:
            revival.recover()
            told = replace(told, seconds=round(time.monotonic() - began, 2), **revival.seen())
            _keep_touched(revival.board, folder)
            if task.follows:
                revival.follow()
        except (ClaimViolated, GuestFault) as error:
            return replace(told, outcome=Outcome.VIOLATED.value, says=error.message, **revival.seen())
        except Inconclusive as error:
            return replace(told, outcome=Outcome.INCONCLUSIVE.value, says=error.message, **revival.seen())
    if not task.keeps:
        folder.drop_bulk()
    return told


def _recover_foreign(rig: ForeignRig, task: Task) -> None:
    rig.recover(Path(task.records) if task.records else None, task.first)
    _flipped_rightly(rig.board, rig.about, rig.about.images)


def _recover(rig: ApplicationRig, recording: Recording, task: Task) -> None:
    """Switch the board on, and see that it settles as it should."""
    about, position = recording.about, CrashPoint.parse(task.point).position
    recorder = _recorder(rig, about, position, Path(task.records)) if task.records else None
    if recorder is not None:
        recorder.follow(_person if about.by_hand else None)  # whether it has settled is judged below
    else:
        rig.power_on()
        if about.by_hand:
            byhand.look_after(rig)
    claim_ended(rig, about.replaced, "new" if about.is_kept(position) else "either")
    _flipped_rightly(rig.board, about, tuple(rig.known_images.values()))
    if recorder is not None:
        rig.version = about.old
        recorder.finish(story(about.story), task.first)


def _recorder(rig: ApplicationRig, about: About, position: int, kept: Path) -> Recorder:
    """For the recovery from a cut there: what was permitted and done by then is so from the beginning."""
    kept.mkdir(parents=True)
    recorder = Recorder(rig, kept)
    if about.permitted is not None and position >= about.permitted:
        recorder.permit(0)
    if about.is_kept(position):
        recorder.keep(0)
    return recorder


def _flipped_rightly(board: Board, about: About, known: Sequence[KnownImage]) -> None:
    """Nothing that is no known system was ever to be booted on the way, also where the bootloader saved it."""
    said = wrong_flip(board.log, board.media.view, about.layout, about.defaults, known)
    if said is not None:
        raise ClaimViolated(said)


def _person(recorder: Recorder) -> None:
    byhand.look_after(recorder.lab, recorder.permit, recorder.keep)


def _follow(rig: ApplicationRig, about: About) -> None:
    """The next good update."""
    did = "The next update"
    if about.replaced is None:
        rig.deploy(FOLLOWING)
        rig.claim("new", did=did)
        return
    version = about.replaced.before if rig.ending == "new" else NEXT_APPLICATION
    rig.deploy_application(about.replaced.kind, version)
    rig.claim_application("new", did=did)


def _seen(rig: ApplicationRig, about: About) -> Mapping[str, Any]:
    """What came up, and what there was in the end, and what the server says."""
    booted = [SLOTS[int(number) - 1] for number in UP.findall(rig.board.console.text)]
    held = {slot: name for slot, (name, _) in rig.rows[-1].slots.items()} if rig.rows else {}
    ran = held.get(booted[-1]) if booted else None
    record, board = rig.record(), rig.board
    kept_old = ran == about.old != about.new
    spare = unused(board.log, board.media.view, about.layout, about.defaults) if kept_old else None
    return {
        "started": held.get(booted[0]) if booted else None,
        "ended": rig.ending if about.replaced else {about.old: "old", about.new: "new"}.get(ran or ""),
        "told": record.status if record else None,
        "unused": spare,
    }


def _keep_touched(board: Board, folder: RunFolder) -> None:
    """What the recovery has read and written; what follows is none of it."""
    with (folder / f"requests-{board.power_ons}.log").open() as trace:
        (folder / TOUCHED).write_bytes(Touched.of(trace, board.spec.layout).packed())
