# SPDX-License-Identifier: Apache-2.0
"""`bootproof shell`: a board with its server, and the user at its console."""

from __future__ import annotations

import argparse
import secrets
import subprocess
import sys
from typing import TYPE_CHECKING

from harness.commands.output import close_matches, complain
from harness.errors import UsageError
from harness.exitcodes import ExitCode

if TYPE_CHECKING:
    from harness.lab import Lab

FACTORY = "a"


def add(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser("shell", help="boot a board and sit down at its serial console")
    parser.add_argument(
        "--version", default=FACTORY, metavar="NAME", help="update it to this version first (a: as it is)"
    )
    other = parser.add_mutually_exclusive_group()
    other.add_argument("--ssh", action="store_true", help="come in by SSH instead")
    other.add_argument("--uboot", action="store_true", help="stop at U-Boot's prompt ('boot' goes on)")
    parser.set_defaults(perform=_perform)


def _perform(options: argparse.Namespace) -> int:
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        raise UsageError("'bootproof shell' needs a terminal.", "Use 'bootproof run' in scripts.")
    from harness.lab import scratch_lab
    from harness.narrator import Narrator
    from images.catalogue import Catalogue
    from images.recipes import RECIPES
    from images.stage import Workshop

    if options.version not in RECIPES:
        raise UsageError(f"There is no version '{options.version}'.", close_matches(options.version, RECIPES))
    narrator = Narrator()
    seed = secrets.randbits(31)
    with scratch_lab(Catalogue(Workshop(say=narrator.say)), "shell", seed, narrator.hear) as lab:
        lab.join()
        if options.version != FACTORY:
            lab.deploy(options.version)
            lab.settle()
        if options.uboot:
            lab.reset()
            lab.interrupt_boot()
        code = _by_ssh(lab) if options.ssh else _at_the_console(lab)
    complain("The board is off.")
    return code


def _at_the_console(lab: Lab) -> int:
    from harness.commands.terminal import LEAVE, bridge

    complain(f"You are at the serial console; {LEAVE} leaves and switches the board off.")
    bridge(lab.board.console)
    return ExitCode.HELD


def _by_ssh(lab: Lab) -> int:
    """The board lets one more key in, for the SSH client of this machine."""
    from harness.lab.device import ssh_identity

    key, line = ssh_identity()
    identity = lab.folder / "ssh-key"
    key.write_private_key_file(str(identity))
    lab.run(f"echo '{line.strip()}' >> /data/ssh/authorized_keys")
    options = {
        "IdentitiesOnly": "yes",
        "LogLevel": "ERROR",
        "StrictHostKeyChecking": "no",
        "UserKnownHostsFile": "/dev/null",
    }
    words = [word for name, value in options.items() for word in ("-o", f"{name}={value}")]
    port = str(lab.board.monitor.ssh_port())
    complain("You come in by SSH; 'exit' leaves and switches the board off.")
    subprocess.run(["ssh", "-F", "/dev/null", "-i", str(identity), "-p", port, *words, "root@127.0.0.1"], check=False)
    return ExitCode.HELD
