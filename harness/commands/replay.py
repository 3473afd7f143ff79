# SPDX-License-Identifier: Apache-2.0
"""`bootproof replay`: one crash point again, from its crash ID."""

from __future__ import annotations

import argparse
import contextlib
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from harness.commands.output import complain, print_json
from harness.commands.run import folder
from harness.errors import HostProblem, UsageError
from harness.exitcodes import ExitCode

if TYPE_CHECKING:
    from harness.evidence import RunFolder
    from harness.explore.crashid import CrashId
    from harness.explore.foreign import ForeignRig
    from harness.explore.recording import Heard, Recording
    from harness.lab.applications import ApplicationRig
    from harness.narrator import Narrator
    from harness.storage import CrashPoint

CODES = {"held": ExitCode.HELD, "violated": ExitCode.VIOLATED}


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("replay", help="boot one crash point again, from its crash ID")
    parser.add_argument("crash_id", metavar="CRASH-ID", help="as 'bootproof explore' prints it")
    parser.add_argument("--runs", type=folder, metavar="DIR", help="where recordings are, and runs go (runs)")
    parser.add_argument("--mutant", metavar="NAME", help="the planted fault, if the update has to be recorded anew")
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--shell", action="store_true", help="sit down at the console of that board")
    other.add_argument("--image", type=Path, metavar="FILE", help="write the disk, raw, and do not boot it")
    parser.add_argument("--json", action="store_true", help="print what became of it, or was written, as one object")
    parser.set_defaults(perform=_perform)


def _perform(options: argparse.Namespace) -> int:
    from harness.commands.run import known_mutant
    from harness.evidence import RunFolder
    from harness.explore.crashid import CrashId
    from harness.narrator import Narrator

    if options.runs is not None and not options.runs.is_dir():
        raise UsageError(f"There is no folder {options.runs}.", "Name with --runs where run folders are.")
    options.runs = options.runs or Path("runs")
    crash_id = CrashId.parse(options.crash_id)
    if options.shell and not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("'bootproof replay --shell' needs a terminal.", "Leave out --shell in scripts.")
    if options.image:
        _must_be_writable(options.image)
    if options.mutant:
        known_mutant(options.mutant)
    narrator = Narrator()
    with contextlib.ExitStack() as ends:
        recording = _found(crash_id, options.runs.resolve(), ends) or _recorded_anew(crash_id, options, narrator)
        point, heard = crash_id.within(recording)
        narrator.say(f"Crash point {point}, when the server had heard '{heard.record.status or 'nothing'}'")
        if options.image:
            windows = _write(recording, point, options.image)
            if options.json:
                print_json({"crash_id": options.crash_id, "image": str(options.image), "windows": windows})
            return ExitCode.HELD
        run = RunFolder(options.runs, "replay", crash_id.seed)
        if options.shell:
            return _sit_down(recording, point, heard, run)
        return _boot(recording, point, heard, run, options)


def _found(crash_id: CrashId, runs: Path, ends: contextlib.ExitStack) -> Recording | None:
    """The recording that the crash ID names, if a run folder has it; nobody else works in that until `ends`.

    Raises:
        UsageError: all that there is of it is damaged, or somebody works there.
    """
    from harness.explore.alone import alone
    from harness.explore.archive import pack, packed_name, unpack
    from harness.explore.recording import ABOUT, Recording

    wrong = None
    for packed in sorted(runs.glob(f"**/{packed_name(crash_id.recording)}")):
        try:
            with contextlib.ExitStack() as mine:
                mine.enter_context(alone(packed.parent))
                recording = unpack(packed)
                mine.callback(pack, recording)  # its folder is not left behind
                ends.push(mine.pop_all())
                return recording
        except UsageError as error:
            wrong = wrong or error
    for about in sorted(runs.glob(f"**/recording/{ABOUT}"), reverse=True):
        with contextlib.suppress(UsageError):
            recording = Recording(about.parent)
            if recording.identity == crash_id.recording:
                return recording.whole()
    if wrong is not None:
        raise wrong
    return None


def _must_be_writable(file: Path) -> None:
    """Whatever is there is written over, unless it is part of a recording.

    Raises:
        UsageError: it cannot be written there.
    """
    from harness.explore.recording import ABOUT

    folder = file.resolve().parent
    if not folder.is_dir() or (file.exists() and not file.is_file()):
        raise UsageError(f"'{file}' is no file that can be written.", "Name a file in a folder that is there.")
    if any((one / ABOUT).exists() for one in (folder, *folder.parents)):
        raise UsageError(f"'{file}' lies within a recording.", "Name another file.")


def _recorded_anew(crash_id: CrashId, options: argparse.Namespace, narrator: Narrator) -> Recording:
    """The same update once more, if it is made of the same things; the point is where it was, or close by.

    Raises:
        UsageError: it is made of others.
    """
    from harness.commands.explore import recorded
    from harness.explore.given import STORY

    missing = f"Recording {crash_id.recording} {{}} is not below {options.runs}."
    if crash_id.is_recovery:
        said = missing.format("of a recovery")
        raise UsageError(said, "Name with --runs where it is, or explore the update anew with --again.")
    if crash_id.story == STORY:
        said = missing.format("of somebody else's update")
        raise UsageError(said, "Name with --runs where it is, or record it with 'bootproof explore --image'.")
    narrator.say(f"Recording {crash_id.recording} is not below {options.runs}; the same update is recorded anew.")
    _, recording = recorded(crash_id.story, crash_id.seed, options.mutant, options.runs, narrator)
    if crash_id.inputs not in ("", recording.inputs):
        raise UsageError(
            f"The bootloader or the systems here are not those of {crash_id.recording}, so this is another update.",
            "Go to the revision that it was made with, name its --mutant, or have its run folder sent.",
        )
    return recording


def _write(recording: Recording, point: CrashPoint, file: Path) -> dict[str, dict[str, int]]:
    """Write the disk; returns where each part of it begins, and its size, in bytes."""
    from harness.storage import DiskView, crash_extents

    layout = recording.about.layout
    view = DiskView(recording.media.base, crash_extents(recording.log, point, layout))
    beside = file.with_name(f"{file.name}.part")
    try:
        view.write_to(beside, 0, layout.size)
        beside.replace(file)
    except OSError as error:
        raise HostProblem(f"{file} cannot be written: {error.strerror}.", "Name another file.") from error
    finally:
        beside.unlink(missing_ok=True)
    for window in layout.windows:
        complain(f"{window.name}: {window.size} bytes from byte {window.start}")
    return {window.name: {"start": window.start, "size": window.size} for window in layout.windows}


def _boot(
    recording: Recording, point: CrashPoint, heard: Heard, run: RunFolder, options: argparse.Namespace
) -> ExitCode:
    from harness.explore.pool import booted
    from harness.explore.revive import Task

    number = recording.about.heard.index(heard)
    task = Task(1, str(recording.folder), str(point), number, str(run.path), follows=True, keeps=True)
    ((_, result),) = booted([task], run / "worker.log", workers=1)
    if options.json:
        print_json({"crash_id": options.crash_id, **result.as_dict()})
    else:
        more = "" if recording.about.commands else ", and the next update succeeds"
        print(f"{result.outcome}: {result.says or f'It is the {result.ended} one{more}.'}")
        print(result.folder or run.path)
    return CODES.get(result.outcome, ExitCode.INCONCLUSIVE)


def _sit_down(recording: Recording, point: CrashPoint, heard: Heard, run: RunFolder) -> ExitCode:
    from harness.commands.terminal import LEAVE, bridge
    from harness.explore.revive import foreign_revived, revived

    complain(f"You are at the serial console; {LEAVE} leaves and switches the board off.")
    with contextlib.ExitStack() as ends:
        rig: ForeignRig | ApplicationRig
        if recording.about.commands:
            rig = ends.enter_context(foreign_revived(recording, point, run))
        else:
            rig = ends.enter_context(revived(recording, point, heard, run))
        rig.power_on()
        bridge(rig.board.console, from_the_start=True)
    complain("The board is off.")
    return ExitCode.HELD
