# SPDX-License-Identifier: Apache-2.0
"""The command `mender-update` on the device: Mender's commands and options, thin over daemon and standalone mode."""

from __future__ import annotations

import argparse
import logging
import os
import signal
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NoReturn

from updater import config as configuration
from updater.bootstrap import bootstrap, recover
from updater.config import Config
from updater.configkeys import LEVELS
from updater.errors import UpdaterError
from updater.store import Device, Store

VERSION = "bootproof-updater 1"
OK, FAILED, INTERRUPTED = 0, 1, 130
STOP_NAMES = ("ArtifactInstall_Enter", "ArtifactCommit_Enter", "ArtifactCommit_Leave", "ArtifactRollback_Enter",
              "ArtifactFailure_Enter", "Cleanup")  # fmt: skip
log = logging.getLogger(__name__)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    options = _parser().parse_args(argv)
    try:
        _log_to(options)
        config = _config(options)
        logging.getLogger().setLevel((options.log_level or config.log_level).upper())
        code: int = options.run(config, options)
        if sys.stdout:  # it may have been closed from the beginning
            sys.stdout.flush()
        return code
    except (UpdaterError, OSError) as error:
        print(f"mender-update: {_said(error)}", file=sys.stderr)
        if options.log_file:
            log.error("%s", _said(error))
        _hush()
        return FAILED
    except KeyboardInterrupt:
        print("mender-update: Interrupted. An update that was under way is still known: see `resume`.", file=sys.stderr)
        return INTERRUPTED


def _said(error: Exception) -> str:
    if not isinstance(error, OSError):
        return str(error)
    if not error.filename:
        return f"What was to be printed cannot be written: {error.strerror}."
    return f"{error.filename} cannot be used: {error.strerror}."


def _hush() -> None:
    """Nothing more can be printed, or need be; what is still to be written out would fail once more at the end."""
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.close(nowhere)


def _log_to(options: argparse.Namespace) -> None:
    form = "updater: %(levelname)s %(message)s"
    options.log_level = LEVELS[options.log_level] if options.log_level else None
    level = (options.log_level or "info").upper()
    if options.log_file:
        logging.basicConfig(level=level, format=f"%(asctime)s {form}", filename=options.log_file)
    else:
        logging.basicConfig(level=level, format=form, stream=sys.stderr)


def _config(options: argparse.Namespace) -> Config:
    config = configuration.load(options.config, options.data, fallback_file=options.fallback_config)
    changes: dict[str, Any] = {}
    if options.trusted_certs:
        changes["server_certificate"] = options.trusted_certs
    if options.skipverify:
        changes["skip_verify"] = True
    return replace(config, **changes)


# -- commands ----------------------------------------------------------------------------------------------------------


def _daemon(config: Config, options: argparse.Namespace) -> int:
    from updater import daemon
    from updater.machine.tables import DIALECTS
    from updater.wiring import make_ports

    store = Store(config.data_directory)
    _know(store, config, options)
    daemon.run(config, make_ports(options.time_scale, DIALECTS[options.dialect]))


def _bootstrap(config: Config, options: argparse.Namespace) -> int:
    _know(Store(config.data_directory), config, options, strict=True)
    return OK


def _know(store: Store, config: Config, options: argparse.Namespace, *, strict: bool = False) -> None:
    """Find out what is installed, if that is not known, or not any more."""
    anew = recover(store) or options.forcebootstrap
    bootstrap(store, config.data_directory, config.conf_directory, force=anew, strict=strict)


def _signal(config: Config, options: argparse.Namespace) -> int:
    from updater.pidfile import running_daemon

    number = {"check-update": signal.SIGUSR1, "send-inventory": signal.SIGUSR2}[options.command]
    try:
        os.kill(running_daemon(config.data_directory), number)
    except OSError as error:
        raise UpdaterError(f"The daemon cannot be told: {error.strerror}.") from error
    return OK


def _installed(config: Config, options: argparse.Namespace) -> Device:
    """What is installed; found out first, if that has not been done and whoever asks may write."""
    store = Store(config.data_directory)
    if options.forcebootstrap or not store.exists():
        try:
            _know(store, config, options)
        except UpdaterError as error:
            log.debug("%s", error)
    return store.load()


def _show_artifact(config: Config, options: argparse.Namespace) -> int:
    print(_installed(config, options).artifact_name)
    return OK


def _show_provides(config: Config, options: argparse.Namespace) -> int:
    provides = _installed(config, options).provides
    print("\n".join(f"{name}={value}" for name, value in sorted(provides.items())))
    return OK


def _standalone(config: Config, options: argparse.Namespace) -> int:
    from updater.machine.reports import NoReports
    from updater.standalone import REBOOT_NEEDED, Standalone
    from updater.wiring import artifact_source, make_ports, make_world

    ports = make_ports(options.time_scale)
    store = Store(config.data_directory)
    _know(store, config, options)
    installs = options.command == "install"
    commands = Standalone(store, make_world(config, ports, NoReports(), installs=installs), options.stop_before)
    if installs:
        result = commands.install(artifact_source(config, ports, options.artifact))
    else:
        result = getattr(commands, options.command)()
    try:
        print("\n".join(result.lines), flush=True)
    except OSError as error:  # it is done all the same
        log.error("%s; and standard output cannot be written: %s", " ".join(result.lines), error.strerror)
        _hush()
    if result.wants_reboot and getattr(options, "reboot_exit_code", False):
        return REBOOT_NEEDED
    return result.code


# -- words -------------------------------------------------------------------------------------------------------------


class Parser(argparse.ArgumentParser):
    """Mender's scripts take 2 for "nothing to do", so a mistake ends with 1."""

    def error(self, message: str) -> NoReturn:
        self.print_usage(sys.stderr)
        print(f"{self.prog}: {message[:1].upper()}{message[1:]}.", file=sys.stderr)
        raise SystemExit(FAILED)


def _parser() -> argparse.ArgumentParser:
    parser = Parser(prog="mender-update", description="Updates this device.")
    parser.add_argument("-c", "--config", type=Path, help="configuration file")
    parser.add_argument("-d", "-s", "--data", "--datastore", type=Path, help="data directory")
    parser.add_argument("-l", "--log-level", choices=LEVELS, help="what is logged")
    parser.add_argument("-b", "--fallback-config", type=Path, help="configuration file under that one")
    parser.add_argument("-L", "--log-file", type=Path, help="log to this file")
    parser.add_argument("-E", "--trusted-certs", type=Path, help="certificates that a server may show")
    parser.add_argument("-F", "--forcebootstrap", action="store_true", help="find out anew what is installed")
    parser.add_argument("--skipverify", action="store_true", help="do not look at the server's certificate")
    parser.add_argument("--no-syslog", action="store_true", help="accepted, and without effect")
    parser.add_argument("-v", "--version", action="version", version=VERSION)
    laboratory = parser.add_argument_group("for laboratories")
    laboratory.add_argument(
        "--time-scale", type=_scale, default=1.0, help="let time pass faster: 0.01 is a hundredfold"
    )
    laboratory.add_argument("--dialect", choices=("cpp", "go34"), default="cpp", help="whose rules to follow")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Any, says: str) -> argparse.ArgumentParser:
        one = commands.add_parser(name, help=says, description=says)
        one.set_defaults(run=run)
        return one

    command("daemon", _daemon, "ask the server for updates and install them")
    found_out = command("bootstrap", _bootstrap, "find out what is installed, if that is not known")
    found_out.add_argument(
        "-F", "--forcebootstrap", action="store_true", default=argparse.SUPPRESS, help="even if it is"
    )
    command("check-update", _signal, "have the daemon ask for an update now")
    command("send-inventory", _signal, "have the daemon send the inventory now")
    command("show-artifact", _show_artifact, "print the name of the installed artifact")
    command("show-provides", _show_provides, "print what the installed software provides")
    install = command("install", _standalone, "install an artifact from a file, an address, or standard input (-)")
    install.add_argument("artifact", metavar="FILE|URL|-")
    others = [
        command("commit", _standalone, "keep what was installed"),
        command("rollback", _standalone, "go back to what was there before"),
        command("resume", _standalone, "go on with an update that was stopped or interrupted"),
    ]
    for one in (install, others[-1]):
        one.add_argument("--reboot-exit-code", action="store_true", help="end with 4 if a reboot is needed")
    for one in (install, *others):
        one.add_argument("--stop-before", action="append", default=[], choices=STOP_NAMES, help="stop there")
    return parser


def _scale(text: str) -> float:
    scale = float(text)
    if not 0 < scale <= 1:
        raise argparse.ArgumentTypeError("it must be above 0 and at most 1")
    return scale
