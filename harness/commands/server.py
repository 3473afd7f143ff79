# SPDX-License-Identifier: Apache-2.0
"""`bootproof server`: the update server's own command line, as it is."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Sequence
from typing import NoReturn


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("server", help="the update server (see 'bootproof server --help')", add_help=False)
    parser.add_argument("words", nargs=argparse.REMAINDER)
    parser.set_defaults(perform=lambda options: hand_over(options.words))


def hand_over(words: Sequence[str]) -> NoReturn:
    """Become the server."""
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, "-m", "server_stub", *words])
