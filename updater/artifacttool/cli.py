# SPDX-License-Identifier: Apache-2.0
"""`bootproof artifact`: the one place where errors become sentences and exit codes."""

import argparse
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Sequence
from typing import NoReturn

from updater.artifact.errors import ArtifactError, KeyRefused, NotVerified, UnsupportedFeature, UnsupportedVersion
from updater.artifacttool.exits import ExitCode, Failure, sentence
from updater.artifacttool.options import parser

HOMES = {
    "write_rootfs_image": "writing",
    "write_module_image": "writing",
    "write_bootstrap_artifact": "writing",
    "read": "reading",
    "validate": "reading",
    "sign": "signing",
    "dump": "dumping",
}


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns what the process ends with."""
    _end_as_interrupted()
    if isinstance(sys.stdout, io.TextIOWrapper):  # a character the terminal lacks is no reason to fail
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        options = parser(_work).parse_args(arguments)
        code = int(options.perform(options))
        sys.stdout.flush()
        return code
    except KeyboardInterrupt:
        return _told("Interrupted.", ExitCode.INTERRUPTED)
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.OK
    except Exception as error:
        return _explained(error)


def _work(name: str) -> Callable[[argparse.Namespace], ExitCode]:
    """A command's work, whose module is loaded when it is done and not for --help."""

    def perform(options: argparse.Namespace) -> ExitCode:
        from importlib import import_module

        work = getattr(import_module(f"updater.artifacttool.{HOMES[name]}"), name)
        return ExitCode(work(options))

    return perform


def _explained(error: Exception) -> ExitCode:
    """Say what is wrong and what to do; what that means for the exit code."""
    if isinstance(error, Failure):
        return _told(str(error), error.code)
    if isinstance(error, KeyRefused):
        return _told(f"{sentence(error)} Give a PEM file of an RSA or ECDSA P-256 key.", ExitCode.PARAMETERS)
    if isinstance(error, UnsupportedVersion):
        return _told(f"{sentence(error)} Write it anew in that version.", ExitCode.VERSION)
    if isinstance(error, UnsupportedFeature):
        return _told(f"{sentence(error)} Write it without that.", ExitCode.FEATURE)
    if isinstance(error, NotVerified):
        return _told(f"{sentence(error)} Give the key that belongs to its signature, or sign it.", ExitCode.INVALID)
    if isinstance(error, ArtifactError):
        return _told(f"{sentence(error)} Fetch or write the artifact anew.", ExitCode.INVALID)
    if isinstance(error, OSError):
        where = f" at {error.filename}" if error.filename else ""
        why = f"This machine failed{where}: {error.strerror or error}."
        return _told(f"{why} No output was changed; try again once that is mended.", ExitCode.SYSTEM)
    return _told(
        f"Something unexpected went wrong: {type(error).__name__}: {error}. Please report it.", ExitCode.SYSTEM
    )


def _told(text: str, code: ExitCode) -> ExitCode:
    print(" ".join(text.split()), file=sys.stderr)
    return code


def _end_as_interrupted() -> None:
    """Being asked to end, or losing the terminal, ends a command as Ctrl-C does: with everything put away."""

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupted)
