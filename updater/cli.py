# SPDX-License-Identifier: Apache-2.0
"""The command `mender-update` on the device: thin over the daemon and the store."""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from updater import config as configuration
from updater.errors import UpdaterError
from updater.store import Store

OK, FAILED = 0, 1


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=options.log_level.upper(), format="updater: %(levelname)s %(message)s", stream=sys.stderr)
    try:
        config = configuration.load(options.config, options.data)
        if options.command == "daemon":
            from updater import daemon

            daemon.run(config)
        stored = Store(config.data_directory).load()
        if options.command == "show-artifact":
            print(stored.artifact_name)
        else:
            print("\n".join(f"{name}={value}" for name, value in sorted(stored.provides.items())))
        return OK
    except UpdaterError as error:
        print(f"mender-update: {error}", file=sys.stderr)
        return FAILED


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="mender-update", description="Updates this device.")
    parser.add_argument("-c", "--config", type=Path, default=configuration.CONFIG_FILE, help="configuration file")
    parser.add_argument("-d", "--data", type=Path, default=configuration.DATA_DIRECTORY, help="data directory")
    parser.add_argument("-l", "--log-level", default="info", choices=("debug", "info", "warning", "error"))
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    commands.add_parser("daemon", help="ask the server for updates and install them")
    commands.add_parser("show-artifact", help="print the name of the installed artifact")
    commands.add_parser("show-provides", help="print what the installed software provides")
    return parser
