# SPDX-License-Identifier: Apache-2.0
"""Judging crash points without booting them: how fast it is, and what time and memory grow with.

One update is recorded (or taken from a run folder).  A process of its own judges a quarter, a half and all of its
positions, and all of them again on disks whose slots are two and four times as large: the same writes, moved to where
they belong there.  Time is that of the processor, with the programs that look at the data partition; memory is the
peak of the process beyond what it needs before it judges.  Prints one JSON object.

    python bench/explore_static.py [--recording RUN-FOLDER/recording]
"""

from __future__ import annotations

import argparse
import json
import resource
import struct
import subprocess
import sys
import tempfile
import time
from dataclasses import replace
from pathlib import Path

from harness.commands.explore import recorded
from harness.explore.plan import Plan
from harness.explore.recording import LOG, MEDIA, Recording
from harness.explore.space import Space
from harness.explore.static import StaticJudge
from harness.narrator import Narrator
from images import disk
from images.layout import SECTOR, Layout, Window

SEED = 5
SHARES = (4, 2, 1)  # every so many positions
FACTORS = (1, 2, 4)  # so many times the slots
CHUNK = 1 << 20
ENTRY = struct.Struct("<QQQQ")  # sector, sectors, flags, and what we do not use
DISCARD = 4
Numbers = dict[str, float]


# -- the same update on a larger disk --------------------------------------------------------------------------------


def stretched(layout: Layout, factor: int) -> Layout:
    """The layout with slots so many times as large; what comes after them moves."""
    parts, end = [], layout.partitions[0].start
    for part in layout.partitions:
        size = part.size * (factor if part.name.startswith("rootfs") else 1)
        parts.append(Window(part.name, end, size))
        end += size
    whole = Window("disk", layout.disk.start, layout.disk.size + end - layout.partitions[-1].end)
    marks = Window("marks", whole.end, layout.marks.size)
    return replace(layout, disk=whole, marks=marks, partitions=tuple(parts))


def moves(old: Layout, new: Layout) -> list[tuple[Window, int]]:
    """What moves, and by how much."""
    names = [part.name for part in old.partitions]
    pairs = [(old.card, new.card), *((old.partition(name), new.partition(name)) for name in names)]
    return [(here, there.start - here.start) for here, there in (*pairs, (old.marks, new.marks))]


def stretch(recording: Recording, folder: Path, factor: int) -> Recording:
    """The recording as it would be on a board with larger slots, as far as judging needs it."""
    old, new = recording.about.layout, stretched(recording.about.layout, factor)
    folder.mkdir()
    with (folder / MEDIA).open("wb") as media:
        media.truncate(new.size)
    disk.partition(folder / "table.img", new)
    disk.copy_into(folder / "table.img", folder / MEDIA, new.disk.start)
    view = recording.media.view
    with (folder / MEDIA).open("r+b") as media:
        for window, by in moves(old, new):
            for at in range(window.start, window.end, CHUNK):
                content = view.read(at, min(CHUNK, window.end - at))
                if content.strip(b"\0"):
                    media.seek(at + by)
                    media.write(content)
    _move_log(recording.folder / LOG, folder / LOG, moves(old, new))
    return Recording.save(folder, replace(recording.about, layout=new))


def _move_log(source: Path, target: Path, moved: list[tuple[Window, int]]) -> None:
    with source.open("rb") as log, target.open("wb") as out:
        out.write(log.read(SECTOR))
        while len(header := log.read(SECTOR)) == SECTOR:
            sector, sectors, flags, rest = ENTRY.unpack_from(header)
            by = next((by for window, by in moved if sectors and sector * SECTOR in window), 0)
            out.write(ENTRY.pack(sector + by // SECTOR, sectors, flags, rest).ljust(SECTOR, b"\0"))
            if not flags & DISCARD:
                out.write(log.read(sectors * SECTOR))


# -- one measurement -------------------------------------------------------------------------------------------------


def judge(folder: Path, share: int) -> Numbers:
    """In this process, which has done nothing else: judge every so many positions."""
    recording = Recording(folder)
    space = Space(recording, seed=SEED)
    space.positions = space.positions[::share]
    recording.log.finish()
    before, began, processor = _peak_mib(), time.monotonic(), _processor()
    judging, plan = StaticJudge(recording), Plan(boots=60, seed=SEED)
    prepared = _processor()
    for judged in judging.judge_all(space):
        plan.add(judged)
    taken = _processor() - processor
    return {
        "disk_mib": recording.about.layout.disk.size >> 20,
        "points": plan.judged,
        "contents": judging.contents,
        "classes": len(plan.classes),
        "suspicious": len(plan.suspicious),
        "seconds": round(time.monotonic() - began, 2),
        "processor_s": round(taken, 2),
        "preparation_s": round(prepared - processor, 2),
        "points_per_processor_s": round(plan.judged / taken),
        "mib": round(_peak_mib() - before, 1),
    }


def _processor() -> float:
    """Seconds of the processor so far, with those of the programs that have ended."""
    return sum(
        used.ru_utime + used.ru_stime
        for used in map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    )


def _peak_mib() -> float:
    """The most that this very program has held; what `getrusage` says is also of the one that started it."""
    status = Path("/proc/self/status").read_text()
    return int(status.partition("VmHWM:")[2].split()[0]) / 1024


def measured(folder: Path, share: int = 1) -> Numbers:
    command = [sys.executable, __file__, "--recording", str(folder), "--judge", str(share)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    numbers: Numbers = json.loads(done.stdout)
    return numbers


def compared(recording: Recording, scratch: Path) -> dict[str, object]:
    """Both rows of measurements, and their ratios."""
    shares = [measured(recording.folder, share) for share in SHARES]
    disks = [measured(stretch(recording, scratch / str(factor), factor).folder) for factor in FACTORS]
    few, many, small, large = shares[0], shares[-1], disks[0], disks[-1]
    return {
        "points_per_processor_s": many["points_per_processor_s"],
        "by_points": shares,
        "by_disk": disks,
        "more_points": round(many["points"] / few["points"], 2),
        "more_points_take_times": round(many["processor_s"] / few["processor_s"], 2),
        "more_points_hold_times": round(many["mib"] / few["mib"], 2),
        "larger_disk": round(large["disk_mib"] / small["disk_mib"], 2),
        "larger_disk_takes_times": round(large["processor_s"] / small["processor_s"], 2),
        "larger_disk_holds_times": round(large["mib"] / small["mib"], 2),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--recording", type=Path, metavar="FOLDER", help="take this one instead of a new one")
    parser.add_argument("--judge", type=int, metavar="N", help="judge every N-th position in this process")
    options = parser.parse_args()
    if options.judge:
        print(json.dumps(judge(options.recording, options.judge)))
        return
    with tempfile.TemporaryDirectory() as scratch:
        if options.recording:
            recording = Recording(options.recording)
        else:
            _, recording = recorded("managed", SEED, None, Path(scratch, "runs"), Narrator())
        print(json.dumps(compared(recording, Path(scratch)), indent=1))


if __name__ == "__main__":
    main()
