# SPDX-License-Identifier: Apache-2.0
"""The part of `bootproof explore` for other people's updates: any disk image, and commands typed on its board."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from harness.errors import UsageError

if TYPE_CHECKING:
    from harness.explore.recording import Recording
    from harness.narrator import Narrator

DEFAULT_STORY = "managed"
NEEDED = ("run", "old", "new")
OPTIONAL = ("then", "check", "ready", "uboot")


def add_options(parser: argparse.ArgumentParser) -> None:
    """The options, in a group of their own."""
    group = parser.add_argument_group("somebody else's update, instead of STORY")
    group.add_argument("--image", type=Path, metavar="FILE", help="all media of a board, as 'replay --image' writes it")
    group.add_argument("--run", metavar="COMMAND", help="typed on the board: installs; a reboot follows")
    group.add_argument("--then", metavar="COMMAND", help="typed whenever the board has come up (a commit, for example)")
    group.add_argument("--check", metavar="COMMAND", help="must end with 0 on the board in the end")
    group.add_argument("--old", type=Path, metavar="FILE", help="what a slot holds before the update, byte for byte")
    group.add_argument("--new", type=Path, metavar="FILE", help="and after it")
    group.add_argument("--ready", metavar="REGEX", help="what the console shows when the board is up (a root's prompt)")
    group.add_argument("--uboot", type=Path, metavar="FILE", help="another build of the board's bootloader")


def asked_for(options: argparse.Namespace) -> bool:
    """Whether somebody else's update is to be explored.

    Raises:
        UsageError: that is not clear, or not all of it is named.
    """
    given = [name for name in (*NEEDED, *OPTIONAL) if getattr(options, name) is not None]
    if options.image is None:
        if given:
            raise UsageError(f"--{given[0]} belongs to --image, which is missing.", "Name the board's image.")
        return False
    for name in NEEDED:
        if getattr(options, name) is None:
            raise UsageError(f"--image needs --{name}, too.", "See 'bootproof explore --help'.")
    if options.story is not None:
        raise UsageError(f"--image explores another update than '{options.story}'.", "Leave out either.")
    if options.mutant:
        raise UsageError("--image does not go with --mutant.", "Leave out either.")
    return True


def recorded(options: argparse.Namespace, seed: int, narrator: Narrator) -> tuple[Path, Recording]:
    """Record the update in a new run folder; returns the folder, and the recording in it."""
    from harness.board.keyboard import PROMPT
    from harness.explore.commands import Commands
    from harness.explore.given import Given, record
    from images.catalogue import Catalogue
    from images.stage import Workshop

    commands = Commands(options.run, options.then or "", options.check or "", options.ready or PROMPT)
    given = Given(options.image, options.old, options.new, commands, options.uboot)
    narrator.say(f"Recording '{options.run}' on the board of {options.image} with seed {seed}")
    return record(given, Catalogue(Workshop(say=narrator.say)), seed, options.runs, narrator.hear)
