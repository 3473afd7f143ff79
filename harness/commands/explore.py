# SPDX-License-Identifier: Apache-2.0
"""`bootproof explore`: every moment at which the power could fail during one update."""

from __future__ import annotations

import argparse
import contextlib
import os
import secrets
import time
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands import foreign, resumed
from harness.commands.output import complain, print_json
from harness.commands.run import folder
from harness.errors import UsageError
from harness.exitcodes import ExitCode

if TYPE_CHECKING:
    from harness.explore.exploration import Exploration
    from harness.explore.pool import Pool
    from harness.explore.recording import Recording
    from harness.narrator import Narrator

BOOTS = resumed.DEFAULTS["boots"]
BOOTS_AGAIN = 6  # of each recovery


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("explore", help="judge every moment at which the power could fail during an update")
    parser.add_argument("story", nargs="?", metavar="STORY", help=f"which update ({foreign.DEFAULT_STORY})")
    parser.add_argument("--list", action="store_true", help="name the updates that can be explored")
    parser.add_argument("--seed", type=int, metavar="N", help="decides everything random; a run prints its own")
    parser.add_argument(
        "--boots", type=int, metavar="N", help=f"how many points to boot, not counting recoveries ({BOOTS})"
    )
    parser.add_argument("--jobs", type=int, default=os.cpu_count() or 1, metavar="N", help="boards at a time")
    parser.add_argument(
        "--scheduler",
        metavar="ADDRESS",
        help="boot on the workers of a Dask cluster; the folder of --runs must be at the same path on all of them",
    )
    parser.add_argument(
        "--again",
        type=int,
        metavar="N",
        help=f"cut again while the board recovers from N of the points, and boot {BOOTS_AGAIN} points of each, and as "
        "many suspicious ones as --boots says (0)",
    )
    parser.add_argument(
        "--least", type=int, metavar="N",
        help="boots for the least that still is violated, where only a boot showed it "
        f"({resumed.DEFAULTS['least']})",
    )  # fmt: skip
    parser.add_argument("--all-writes", action="store_true", default=None, help="examine every write to a slot, too")
    parser.add_argument("--mutant", metavar="NAME", help="explore images with a planted fault")
    parser.add_argument(
        "--resume",
        type=folder,
        metavar="DIR",
        help="go on with the exploration in that folder, as it was begun; --boots, --again and --least may be others",
    )
    parser.add_argument("--runs", type=folder, default=Path("runs"), metavar="DIR", help="where run folders go (runs)")
    parser.add_argument("--json", action="store_true", help="print one JSON object at the end; progress goes to stderr")
    foreign.add_options(parser)
    parser.set_defaults(perform=_perform)


def _perform(options: argparse.Namespace) -> int:
    from harness.commands.output import print_table
    from harness.explore.stories import STORIES, story

    if options.list:
        print_table(("update", "what it is"), ((one.name, one.says) for one in STORIES.values()))
        return ExitCode.HELD
    resumed.complete(options)
    someone_elses = foreign.asked_for(options)
    if min(options.boots, options.again, options.least) < 0 or options.jobs < 1:
        raise UsageError("There must be at least one board at a time, and no fewer than 0 boots.", "See --help.")
    if options.resume is None and not someone_elses:
        options.story = options.story or foreign.DEFAULT_STORY
        story(options.story)
    with _pool(options) as pool:
        return _explored(options, pool)


@contextlib.contextmanager
def _pool(options: argparse.Namespace) -> Iterator[Pool]:
    """Where points are booted; a cluster that is not there is noticed before anything is recorded."""
    if options.scheduler is None:
        from harness.explore.pool import booted

        yield partial(booted, workers=options.jobs)
        return
    from harness.explore.cluster import Cluster

    with contextlib.closing(Cluster(options.scheduler)) as cluster:
        yield cluster.booted


def _explored(options: argparse.Namespace, pool: Pool) -> int:
    from harness.explore.again import explore_again
    from harness.explore.alone import alone
    from harness.explore.archive import pack
    from harness.narrator import Narrator

    narrator = Narrator()
    began = time.monotonic()
    if options.resume is None:
        folder, recording = _recorded(options, narrator)
    else:
        folder, recording = options.resume.resolve(), None
    with alone(folder), _hint(folder):
        resumed.keep(options, folder)
        exploration = _judged(folder, recording, options, narrator)
        exploration.began = began
        for _ in exploration.boot(exploration.planned()[: options.boots], pool):
            pass
        exploration.decide()
        exploration.explain(options.least, pool)
        recoveries = (
            explore_again(exploration, options.again, BOOTS_AGAIN, options.boots, pool) if options.again else None
        )
        report = exploration.report(recoveries)
        pack(exploration.recording)
    if options.json:
        print_json(report)
    else:
        _tell(exploration, report)
    if report["violations"]:
        return ExitCode.VIOLATED
    return ExitCode.INCONCLUSIVE if report["inconclusive"] or report["suspicious_left"] else ExitCode.HELD


@contextlib.contextmanager
def _hint(folder: Path) -> Iterator[None]:
    """What is done is not lost."""
    try:
        yield
    except KeyboardInterrupt:
        complain(f"What is done is kept; go on with: bootproof explore --resume {folder}")
        raise


def _tell(exploration: Exploration, report: Mapping[str, Any]) -> None:
    """The outcome, for people."""
    from harness.explore.figures import OF_A_RECOVERY

    name, violations = exploration.recording.about.story, report["violations"]
    booted = f"{report['classes_booted']} of {report['classes']} classes were booted"
    exploration.say(f"{name}: {len(violations)} violations in {report['states_judged']:,} points; {booted}.")
    explained = {one["crash_id"]: one for one in exploration.violations()}
    says = exploration.sayings(report)
    for name in violations:
        print(name, f"  {says.get(name, OF_A_RECOVERY)}", sep="\n")
        if name in explained:
            print(f"  At the least: {explained[name]['least']}")
            print(*(f"  {line}" for line in explained[name]["words"]), sep="\n")
    if report["suspicious_left"]:
        print(f"No boot speaks for {report['suspicious_left']:,} suspicious points; name more --boots.")
    print(exploration.folder)


def _recorded(options: argparse.Namespace, narrator: Narrator) -> tuple[Path, Recording]:
    """Record the update that is asked for; returns the run folder, and the recording in it."""
    from harness.commands.run import known_mutant

    if options.mutant:
        known_mutant(options.mutant)
    seed = secrets.randbits(31) if options.seed is None else options.seed
    if options.image is not None:
        return foreign.recorded(options, seed, narrator)
    return recorded(options.story, seed, options.mutant, options.runs, narrator)


def _judged(folder: Path, recording: Recording | None, options: argparse.Namespace, narrator: Narrator) -> Exploration:
    """The exploration in a folder, all of its points judged: again, if more are to be booted than were chosen then."""
    from harness.explore.archive import found
    from harness.explore.exploration import Exploration
    from harness.explore.plan import Plan

    exploration = Exploration(folder, recording or found(folder), narrator.say)
    if not exploration.is_planned(options.boots):
        plan = Plan(options.boots, exploration.recording.about.seed)
        exploration.judge(plan, everything=options.all_writes)
    return exploration


def recorded(name: str, seed: int, planted: str | None, runs: Path, narrator: Narrator) -> tuple[Path, Recording]:
    """Record an update in a new run folder; returns the folder, and the recording in it."""
    from harness.evidence import Events, RunFolder
    from harness.explore.record import record
    from harness.explore.stories import story
    from harness.lab import Lab
    from images.catalogue import Catalogue
    from images.stage import Workshop

    wanted = story(name)
    run = RunFolder(runs, f"explore-{name}", seed)
    narrator.say(f"Recording '{name}' with seed {seed}")
    with (
        contextlib.closing(Events(run / "events.jsonl", (narrator.hear,))) as events,
        contextlib.closing(Lab(Catalogue(Workshop(say=narrator.say), planted), run, events, seed)) as lab,
    ):
        recording = record(lab, wanted, run / "recording")
    run.drop_bulk()
    return run.path, recording
