# SPDX-License-Identifier: Apache-2.0
"""`bootproof run`: one scenario, told as it happens, with the table, the seed and the run folder at the end."""

from __future__ import annotations

import argparse
import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from harness.commands.output import close_matches, complain, print_json, print_table
from harness.errors import UsageError
from harness.exitcodes import ExitCode

if TYPE_CHECKING:
    from harness.commands.teller import Teller

WHOLE_RUN_SECONDS = 3600  # against hanging for ever; every wait within a scenario has its own, shorter limit


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("run", help="run a scenario ('run --list' names them; 'run prove' is the main job)")
    parser.add_argument("scenario", nargs="?", metavar="SCENARIO[/CASE]")
    parser.add_argument("--list", action="store_true", help="name the scenarios")
    parser.add_argument("--seed", type=int, metavar="N", help="decides everything random; a run prints its own")
    parser.add_argument("--mutant", metavar="NAME", help="run with a planted fault, which the scenario must find")
    parser.add_argument("--keep", action="store_true", help="keep disks and write logs of what held, too")
    parser.add_argument("--runs", type=folder, default=Path("runs"), metavar="DIR", help="where run folders go (runs)")
    parser.add_argument(
        "--json", action="store_true", help="print one JSON document at the end; progress goes to stderr"
    )
    parser.set_defaults(perform=_perform)


def folder(text: str) -> Path:
    if not text:
        raise argparse.ArgumentTypeError("it must be the name of a folder")
    return Path(text)


def _perform(options: argparse.Namespace) -> int:
    from harness.commands.scenarios import node

    if options.list:
        if options.scenario:
            raise UsageError("'run --list' names all scenarios and takes none.", "Leave out either.")
        return _list(options.json)
    if not options.scenario:
        raise UsageError("Which scenario?", "See 'bootproof run --list'.")
    target = node(options.scenario)
    if options.mutant:
        known_mutant(options.mutant)
    return _run(target, options)


def _list(as_json: bool) -> int:
    from harness.commands.scenarios import scenarios

    found = scenarios()
    if as_json:
        print_json([{"name": one.name, "says": one.says, "cases": one.cases} for one in found])
    else:
        print_table(("scenario", "what it tells"), ((one.name, one.says) for one in found))
    return ExitCode.HELD


def known_mutant(name: str) -> None:
    from images.mutants import MUTANTS

    if name not in MUTANTS:
        raise UsageError(f"There is no mutant '{name}'.", close_matches(name, MUTANTS))


def _run(target: str, options: argparse.Namespace) -> int:
    import pytest

    from harness.commands.teller import Teller

    teller = Teller()
    with _standard_output_for_data(options.json):
        status = pytest.main([target, *_words(options)], plugins=[teller])
    code = teller.exit_code(int(status))
    if options.json:
        print_json(_document(code, teller))
    else:
        for sentence in teller.unexpected:
            complain(sentence)
    if code is ExitCode.USAGE and "[" in target:
        complain("There is no case with these parameters; named without them, all of its cases run.")
    if code is ExitCode.INTERRUPTED:
        complain("Interrupted.")
    return code


def _words(options: argparse.Namespace) -> list[str]:
    """pytest's options: this checkout's configuration from wherever the command is called, and nothing left behind."""
    from harness.commands.scenarios import ROOT

    words = ["-c", str(ROOT / "pyproject.toml"), "--rootdir", str(ROOT), "-p", "no:cacheprovider", "-q", "-s", "--tell"]
    words += ["-o", f"timeout={WHOLE_RUN_SECONDS}", "--runs", str(options.runs.resolve())]
    words += ["--seed", str(options.seed)] if options.seed is not None else []
    words += ["--mutant", options.mutant] if options.mutant else []
    return words + (["--keep"] if options.keep else [])


@contextlib.contextmanager
def _standard_output_for_data(wanted: bool) -> Iterator[None]:
    """With `wanted`, everything that is printed meanwhile goes to standard error."""
    if not wanted:
        yield
        return
    with contextlib.redirect_stdout(sys.stderr):
        yield


def _document(code: ExitCode, teller: Teller) -> dict[str, Any]:
    from dataclasses import asdict

    return {
        "outcome": code.name.lower(),
        "exit_code": int(code),
        "seed": teller.seed,
        "rows": [asdict(row) for row in teller.rows],
        "run_folders": [str(folder) for folder in teller.folders],
        "findings": [*teller.findings, *teller.unexpected],
    }
