# SPDX-License-Identifier: Apache-2.0
"""The `bootproof` command: which commands there are, and the one place where errors become sentences and exit codes."""

from __future__ import annotations

import argparse
import errno
import os
import signal
import sys
import threading
from collections.abc import Sequence
from typing import NoReturn

from harness.commands import artifact, doctor, explore, images, output, replay, run, server, shell
from harness.errors import BootproofError, UsageError
from harness.exitcodes import ExitCode
from images.errors import ImageError

EPILOGUE = """\
exit codes:
  0 every claim held     1 a claim was violated     2 called wrongly     3 inconclusive
  4 this machine or the harness is at fault     130 interrupted
"""
REFUSED = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)  # by the disk or its owner
RICH_BROKEN_PIPE = 1  # what rich ends the program with when nobody reads on; nothing else here ends so


class Parser(argparse.ArgumentParser):
    """A parser whose complaint is one sentence."""

    def error(self, message: str) -> NoReturn:
        raise UsageError(f"{message[:1].upper()}{message[1:]}.", f"See '{self.prog} --help'.")


def parser() -> Parser:
    """All commands and their options."""
    made = Parser(
        prog="bootproof",
        description="The proving ground for over-the-air updates of embedded Linux devices.",
        epilog=EPILOGUE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    made.add_argument("-v", "--verbose", action="store_true", help="show where in the program an error comes from")
    commands = made.add_subparsers(required=True, metavar="COMMAND", dest="command")
    for group in (run, explore, replay, images, shell, doctor, server, artifact):
        group.add(commands)
    return made


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns what the process ends with."""
    words = list(sys.argv[1:] if arguments is None else arguments)
    verbose = bool(words) and words[0] in ("-v", "--verbose")
    _end_as_interrupted()
    output.make_usable()
    try:
        for name, program in (("server", server), ("artifact", artifact)):
            if words[verbose : verbose + 1] == [name]:  # the rest is another program's, its options included
                return int(program.hand_over(words[verbose + 1 :]))
        options = parser().parse_args(words)
        verbose = options.verbose
        return int(options.perform(options))
    except KeyboardInterrupt:
        output.complain("Interrupted.")
        return ExitCode.INTERRUPTED
    except BrokenPipeError:  # whoever read our output has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.HELD
    except SystemExit as end:
        if end.code != RICH_BROKEN_PIPE:
            raise
        return ExitCode.HELD
    except Exception as error:
        return _explained(error, verbose)


def _explained(error: Exception, verbose: bool) -> ExitCode:
    """Say what went wrong; what that means for the exit code."""
    if verbose:
        import traceback

        traceback.print_exception(error)
    if isinstance(error, BootproofError | ImageError):
        output.complain(str(error))
        return error.exit_code if isinstance(error, BootproofError) else ExitCode.HOST
    if isinstance(error, OSError) and error.errno in REFUSED:
        where = f"'{error.filename}'" if error.filename else "What is to be kept"
        output.complain(f"{where} cannot be written: {error.strerror}. Free some space, or name another folder.")
        return ExitCode.HOST
    hint = "" if verbose else " Run 'bootproof -v ...' to see where."
    output.complain(f"Something unexpected went wrong: {type(error).__name__}: {error}{hint}")
    return ExitCode.HOST


def _end_as_interrupted() -> None:
    """Being asked to end, or losing the terminal, ends a command as Ctrl-C does: with everything put away."""

    def interrupted(*_: object) -> NoReturn:
        raise KeyboardInterrupt

    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGTERM, signal.SIGHUP):
            signal.signal(number, interrupted)


if __name__ == "__main__":
    sys.exit(main())
