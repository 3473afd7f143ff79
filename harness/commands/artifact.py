# SPDX-License-Identifier: Apache-2.0
"""`bootproof artifact`: the artifact tool's own command line, as it is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    told = "write, read and sign artifacts (see 'bootproof artifact --help')"
    parser = commands.add_parser("artifact", help=told, add_help=False)
    parser.add_argument("words", nargs=argparse.REMAINDER)
    parser.set_defaults(perform=lambda options: hand_over(options.words))


def hand_over(words: Sequence[str]) -> NoReturn:
    """Become the artifact tool."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "updater.artifacttool", *words])
