# SPDX-License-Identifier: Apache-2.0
"""`bootproof images`: build them, look at the cache, check it, empty it."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from typing import TYPE_CHECKING

from harness.commands.output import close_matches, print_json, print_table, size_in_words, workshop
from harness.errors import UsageError
from harness.exitcodes import ExitCode

if TYPE_CHECKING:
    from images.build import Planned
    from images.cache import Entry
    from images.stage import Stage

MAIN_JOB = ("uboot", "board", "b", "c")
ALL = "all"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    group = commands.add_parser("images", help="build, list, verify and clean the boards' images")
    verbs = group.add_subparsers(required=True, metavar="VERB", dest="verb")
    build = verbs.add_parser("build", help="build what is not in the cache")
    build.add_argument(
        "names", nargs="*", metavar="NAME", help="uboot, board, a version, or all (what the main job needs)"
    )
    build.add_argument("--plan", action="store_true", help="say what would be built and why, and build nothing")
    listed = verbs.add_parser("list", help="what is in the cache")
    verify = verbs.add_parser("verify", help="compare every file in the cache with what was built")
    clean = verbs.add_parser("clean", help="delete what is in the cache")
    clean.add_argument("stage", nargs="?", metavar="STAGE", help="only this stage")
    for parser, perform in ((build, _build), (listed, _list), (verify, _verify), (clean, _clean)):
        parser.add_argument("--json", action="store_true", help="print JSON")
        parser.set_defaults(perform=perform)


def stages(names: Sequence[str]) -> list[Stage]:
    """What the names stand for.

    Raises:
        UsageError: a name stands for nothing.
    """
    from images.catalogue import FACTORY_VERSION
    from images.disk import Disk
    from images.recipes import RECIPES
    from images.release import Artifact, Release
    from images.uboot import UBoot

    known = {"uboot": UBoot(), "board": Disk(Release(FACTORY_VERSION))}
    known |= {version: Artifact(Release(version)) for version in RECIPES}
    wanted = list(known) if ALL in names else list(names or MAIN_JOB)
    for name in wanted:
        if name not in known:
            raise UsageError(f"There is no image '{name}'.", close_matches(name, [*known, ALL]))
    return [known[name] for name in dict.fromkeys(wanted)]


def _build(options: argparse.Namespace) -> int:
    from images.build import build, plan

    wanted = stages(options.names)
    shop = workshop()
    planned = plan(shop, wanted)
    missing = [one for one in planned if one.why]
    if options.plan:
        if options.json:
            print_json(
                [{**_about(one), "label": one.stage.label, "cached": not one.why, "why": one.why} for one in planned]
            )
        else:
            rows = ((p.stage.name, p.stage.label, p.stage.key, p.why or "in the cache") for p in planned)
            print_table(("stage", "what", "key", "why"), rows)
        return ExitCode.HELD
    if missing:
        count = len(missing)
        shop.say(f"Building {count} of {len(planned)} stages into {shop.cache.root}")
    build(shop, wanted)
    shop.say("All images are there")
    if options.json:
        print_json([{**_about(one), "built": bool(one.why)} for one in planned])
    return ExitCode.HELD


def _about(planned: Planned) -> dict[str, str]:
    return {"stage": planned.stage.name, "key": planned.stage.key}


def _list(options: argparse.Namespace) -> int:
    from dataclasses import asdict
    from datetime import datetime

    from images.cache import MANIFEST, Cache

    def when(entry: Entry) -> str:
        changed = (entry.path / MANIFEST).stat().st_mtime
        return datetime.fromtimestamp(changed).astimezone().isoformat(" ", "minutes")

    cache = Cache()
    entries = cache.entries()
    if options.json:
        print_json([asdict(entry) | {"built": when(entry)} for entry in entries])
        return ExitCode.HELD
    print_table(
        ("stage", "what", "key", "size", "built"),
        ((entry.stage, entry.label, entry.key, size_in_words(entry.bytes), when(entry)) for entry in entries),
    )
    total = size_in_words(sum(entry.bytes for entry in entries))
    print(f"\n{len(entries)} entries, {total}, in {cache.root}")
    return ExitCode.HELD


def _verify(options: argparse.Namespace) -> int:
    from images.cache import Cache

    cache = Cache()
    damage = cache.damage()
    if options.json:
        print_json({"entries": len(cache.entries()), "damage": damage})
    elif damage:
        print("\n".join(damage))
        print("\nDelete what is damaged with 'bootproof images clean STAGE'; it is built again when it is needed.")
    else:
        print(f"All {len(cache.entries())} entries are as they were built.")
    return ExitCode.VIOLATED if damage else ExitCode.HELD


def _clean(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from images.cache import Cache

    cache = Cache()
    if options.stage is not None:
        known = _stage_names() | {entry.stage for entry in cache.entries()}
        if options.stage not in known:
            raise UsageError(f"There is no stage '{options.stage}'.", close_matches(options.stage, known))
    there = [entry for entry in cache.entries() if options.stage in (None, entry.stage)]
    gone = cache.clean(options.stage) if there else []
    if options.json:
        print_json([asdict(entry) for entry in gone])
    else:
        print(f"Deleted {len(gone)} entries, {size_in_words(sum(entry.bytes for entry in gone))}.")
    return ExitCode.HELD


def _stage_names() -> set[str]:
    from images.build import needed

    return {stage.name for stage in needed(stages([ALL]))}
