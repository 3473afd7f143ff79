# SPDX-License-Identifier: Apache-2.0
"""Does an exploration find every planted fault?  Each one that an update must show is planted, the update is recorded,
all its crash points are judged, and, if nothing is violated at any of them, points are booted until one is.

What came of each is kept as a line of `mutants.jsonl` in the run folder, so that what is interrupted goes on where it
was; a fault whose text has changed is explored anew.  The table in docs/mutants.md is written from these lines.

    python bench/mutants.py [--boots 60] [--jobs 2] [--seed 1] [--runs runs] [MUTANT...]

Faults that are named are explored anew, all others only if nothing is known of them.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path
from typing import Any

from harness.commands.explore import BOOTS, recorded
from harness.errors import ClaimViolated, GuestFault, Inconclusive
from harness.explore.exploration import Exploration
from harness.explore.plan import Plan
from harness.explore.pool import booted
from harness.explore.revive import Booted
from harness.explore.words import Words
from harness.judge import Outcome
from harness.narrator import Narrator
from harness.storage import CrashPoint
from images.mutants import MUTANTS, Mutant

ROOT = Path(__file__).resolve().parents[1]
TABLE = ROOT / "docs" / "mutants.md"
STATIC, BOOT, NO_CUT, SURVIVES, UNKNOWN = "without a boot", "by a boot", "without any cut", "survives", "not recorded"
KILLED = (STATIC, BOOT, NO_CUT)
SAID = 200


@dataclass(frozen=True)
class Explored:
    """What came of one fault.

    Attributes:
        fault: a digest of what is planted, so that an old result is known as one.
        how: killed without a boot, by a boot or without any cut; or it survives, or could not even be recorded.
        rules: that were violated.
        crash_id: the least point that shows it, with what was lost in plain words.
        seconds: for all of it; noted, and nothing depends on it.
    """

    name: str
    fault: str
    story: str
    seed: int
    how: str
    rules: tuple[str, ...] = ()
    says: str = ""
    crash_id: str = ""
    words: tuple[str, ...] = ()
    total: int = 0
    judged: int = 0
    boots: int = 0
    seconds: float = 0.0


def fault_of(one: Mutant) -> str:
    """Changes with what is planted, and with where it is to be shown."""
    text = json.dumps([[asdict(change) for change in one.changes], one.redundant_environment, one.explored])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def explore(one: Mutant, options: argparse.Namespace, narrator: Narrator) -> Explored:
    """Record, judge and boot one fault's update."""
    began = time.monotonic()
    assert one.explored is not None
    found: dict[str, Any]
    try:
        folder, recording = recorded(one.explored, options.seed, one.name, options.runs, narrator)
    except ClaimViolated as error:
        found = {"how": NO_CUT, "says": error.message, "rules": violated_in(newest(options.runs))}
    except (Inconclusive, GuestFault) as error:
        found = {"how": UNKNOWN, "says": error.message}
    else:
        exploration = Exploration(folder, recording, narrator.say)
        exploration.judge(Plan(options.boots, options.seed))
        found = killed(exploration, options)
        found.update({name: exploration.report()[f"states_{name}"] for name in ("total", "judged")})
        found["boots"] = exploration.report()["states_booted"]
        if not options.keep:
            shutil.rmtree(recording.folder)
    seconds = round(time.monotonic() - began, 1)
    return Explored(one.name, fault_of(one), one.explored, options.seed, **found, seconds=seconds)


def killed(exploration: Exploration, options: argparse.Namespace) -> dict[str, Any]:
    """The first violation: of those without a boot the one with the fewest losses, else what a boot shows."""
    at_once = exploration.violations()
    if at_once:
        least = min(at_once, key=lambda found: len(found["words"]))
        return {
            "how": STATIC, "rules": tuple(least["rules"]), "says": least["says"],
            "crash_id": least["least"], "words": tuple(least["words"]),
        }  # fmt: skip
    pool = partial(booted, workers=options.jobs)
    for chosen, result in exploration.boot(exploration.planned()[: options.boots], pool):
        if result.outcome == Outcome.VIOLATED.value:
            words = Words(exploration.recording).of(CrashPoint.parse(result.point))
            return {
                "how": BOOT, "rules": rules_of(result), "says": result.says,
                "crash_id": chosen.crash_id, "words": tuple(words),
            }  # fmt: skip
    return {"how": SURVIVES}


def rules_of(result: Booted) -> tuple[str, ...]:
    """Of the last verdict; what was wrong on the way to it has no rule of its own."""
    return violated_in(Path(result.folder)) or ("on the way",)


def violated_in(folder: Path) -> tuple[str, ...]:
    """The rules that the last verdict of a run folder found violated."""
    verdicts = folder / "verdicts.json"
    last = json.loads(verdicts.read_text())[-1] if verdicts.exists() else {"findings": []}
    return tuple(finding["rule"] for finding in last["findings"] if not finding["holds"])


def newest(runs: Path) -> Path:
    """The run folder that was made last; its name begins with the time."""
    return max(path for path in runs.glob("*-explore-*") if path.is_dir())


# -- what is kept ------------------------------------------------------------------------------------------------------


def known(kept: Path) -> dict[str, Explored]:
    """What is known of the faults as they are now; the last line of each counts."""
    lines = kept.read_text().splitlines() if kept.exists() else []
    found = {}
    for raw in map(json.loads, lines):
        one = Explored(**{**raw, "rules": tuple(raw["rules"]), "words": tuple(raw["words"])})
        if one.name in MUTANTS and fault_of(MUTANTS[one.name]) == one.fault:
            found[one.name] = one
    return found


def table(found: Sequence[Explored]) -> Iterator[str]:
    """The page, line by line."""
    wanted = [one.name for one in MUTANTS.values() if one.explored]
    dead = [one for one in found if one.how in KILLED]
    yield from (
        "# Planted faults, and the crash that shows each",
        "",
        "Written by `python bench/mutants.py`. Each fault is planted into all images of a board; the update is "
        "recorded without a cut, every crash point is judged, and if nothing is violated at any of them, points are "
        "booted until one is. A fault that survives is a defect of the explorer.",
        "",
        f"**{len(dead)} of {len(wanted)}** are killed: "
        + ", ".join(f"{sum(one.how == how for one in dead)} {how}" for how in KILLED)
        + ".",
        "",
        "| fault | what is planted | update | killed | rule | points judged | boots | s |",
        "|---|---|---|---|---|---:|---:|---:|",
    )
    for one in found:
        rules = ", ".join(one.rules) or "-"
        yield (
            f"| `{one.name}` | {MUTANTS[one.name].plants} | {one.story} | {how_of(one)} | {rules} "
            f"| {one.judged:,} | {one.boots} | {one.seconds:.0f} |"
        )
    left = [name for name in wanted if name not in {one.name for one in found}]
    if left:
        yield from ("", f"Not explored yet: {', '.join(f'`{name}`' for name in left)}.")
    unseen = [f"`{one.name}`: {one.plants}" for one in MUTANTS.values() if not one.explored]
    yield from ("", "Not explored, as no cut of these updates shows them, or none is needed; scenarios catch them:", "")
    yield from (f"- {line}" for line in unseen)
    yield from ("", "## The crashes", "")
    for one in found:
        yield from crash(one)


def how_of(one: Explored) -> str:
    return one.how if one.how in KILLED else f"**{one.how}**"


def crash(one: Explored) -> Iterator[str]:
    """One fault's crash ID, and what it means."""
    yield f"### {one.name}"
    yield ""
    if one.crash_id:
        yield from (f"    {one.crash_id}", "")
        yield from (f"- {line}" for line in one.words)
    yield f"- {shortened(one.says) or 'Nothing was violated.'}"
    yield ""


def shortened(text: str) -> str:
    """Some programs complain at length."""
    return text if len(text) <= SAID else text[:SAID].rpartition(" ")[0] + " ..."


def main() -> None:
    """Explore what is wanted, one after the other, and write the table after each."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("mutants", nargs="*", metavar="MUTANT")
    parser.add_argument("--boots", type=int, default=BOOTS)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--runs", type=Path, default=ROOT / "runs")
    parser.add_argument("--keep", action="store_true", help="keep the recordings")
    options = parser.parse_args()
    options.runs.mkdir(parents=True, exist_ok=True)
    kept = options.runs / "mutants.jsonl"
    explorable = {name: one for name, one in MUTANTS.items() if one.explored}
    unknown = [name for name in options.mutants if name not in explorable]
    if unknown:
        parser.error(f"nothing explores {', '.join(unknown)}")
    before = known(kept)
    wanted = options.mutants or [name for name in explorable if name not in before]
    for name in wanted:
        one = explore(explorable[name], options, Narrator())
        with kept.open("a") as lines:
            lines.write(json.dumps(asdict(one)) + "\n")
        write(known(kept))
    write(known(kept))
    found = known(kept).values()
    print(json.dumps({"known": len(found), "killed": sum(one.how in KILLED for one in found),
                      "survive": [one.name for one in found if one.how not in KILLED]}))  # fmt: skip


def write(found: dict[str, Explored]) -> None:
    """The table, in the order of the faults."""
    TABLE.write_text("\n".join(table([found[name] for name in MUTANTS if name in found])).rstrip() + "\n")


if __name__ == "__main__":
    main()
