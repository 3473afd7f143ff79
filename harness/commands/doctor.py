# SPDX-License-Identifier: Apache-2.0
"""`bootproof doctor`: what this machine can do, and what to do about what it cannot."""

from __future__ import annotations

import argparse

from harness.commands.output import print_json
from harness.exitcodes import ExitCode

STYLE = {"ready": "green", "missing": "bold red", "absent": "yellow", "not probed": "yellow"}
NAME_WIDTH, STATE_WIDTH = 21, 11


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("doctor", help="say what this machine can do, with a next step for what it cannot")
    parser.add_argument("--json", action="store_true", help="print JSON")
    parser.set_defaults(perform=_perform)


def _perform(options: argparse.Namespace) -> int:
    from dataclasses import asdict

    from rich.console import Console
    from rich.markup import escape

    from harness.doctor import PROBES, Finding, State

    console = Console(highlight=False, quiet=options.json)
    findings: list[Finding] = []
    for probe in PROBES:
        with console.status("Looking ..."):
            found = probe()
        findings.append(found)
        state = f"[{STYLE[found.state]}]{found.state:{STATE_WIDTH}}[/]"
        console.print(f"{found.name:{NAME_WIDTH}} {state} {escape(found.says)}", soft_wrap=True)
        if found.next_step:
            console.print(f"{'':{NAME_WIDTH + STATE_WIDTH + 2}}→ {escape(found.next_step)}", soft_wrap=True)
    missing = [found.name for found in findings if found.state is State.MISSING]
    if options.json:
        print_json({"ready": not missing, "findings": [asdict(found) for found in findings]})
    elif missing:
        console.print(f"\nThis machine cannot run boards yet; missing: {', '.join(missing)}.")
    else:
        console.print("\nThis machine can build the images and run boards.")
    return ExitCode.HOST if missing else ExitCode.HELD
