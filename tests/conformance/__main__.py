# SPDX-License-Identifier: Apache-2.0
"""`python -m tests.conformance FILE`: runs written cases against the real updater and the real server.

The last line counts; the exit code is 0 if all passed, 1 if not, 2 if the file or the arguments cannot be used.
"""

from __future__ import annotations

import argparse
import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NoReturn

from tests.conformance.cases import Case, Dialect, read_cases
from tests.conformance.errors import Unusable
from tests.conformance.report import passed, told
from tests.conformance.trial import Trials
from tests.protocol.conftest import MANAGEMENT, PASSWORD, Operator, Server, run_cli

OK, FAILED, UNUSABLE, INTERRUPTED = 0, 1, 2, 130


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise Unusable(f"{message[:1].upper()}{message[1:]}: see {self.prog} --help.")


def main(arguments: Sequence[str] | None = None) -> int:
    try:
        options = _parser().parse_args(arguments)
        cases = _chosen(options.file, options.only)
        with _server() as operator:
            failed = _run(Trials(operator), cases, options)
    except Unusable as problem:
        print(problem, file=sys.stderr)
        return UNUSABLE
    except KeyboardInterrupt:
        return INTERRUPTED
    # After the server has ended, which may have something to say too: this is the last line.
    print(f"{len(cases) - failed} passed, {failed} failed", flush=True)
    return FAILED if failed else OK


def _parser() -> _Parser:
    parser = _Parser(prog="python -m tests.conformance", description="Runs written cases against the updater.")
    parser.add_argument("file", type=Path, metavar="FILE", help="cases, one to a line, columns separated by '|'")
    parser.add_argument(
        "--dialect", type=Dialect, choices=list(Dialect), metavar="cpp|go34",
        help="generation of Mender's client; by default go34 for cases with four columns, cpp for those with five",
    )  # fmt: skip
    parser.add_argument("-k", dest="only", default="", metavar="SUBSTRING", help="only cases with this in their name")
    parser.add_argument("-j", dest="jobs", type=_jobs, default=2, metavar="N", help="cases at the same time")
    parser.add_argument("-v", dest="verbose", action="store_true", help="show what was seen of every case")
    return parser


def _jobs(text: str) -> int:
    if not (text.isascii() and text.isdecimal() and 1 <= int(text[:4]) <= 64):
        raise argparse.ArgumentTypeError(f"'{text}' is not a number from 1 to 64")
    return int(text)


def _chosen(file: Path, only: str) -> tuple[Case, ...]:
    try:
        cases = read_cases(file.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise Unusable(f"{file} cannot be read: {error.strerror}.") from None
    except UnicodeDecodeError:
        raise Unusable(f"{file} is not text.") from None
    except Unusable as problem:
        raise Unusable(f"{file}: {problem}") from None
    chosen = tuple(case for case in cases if only in case.name)
    if not chosen:
        raise Unusable(f"{file}: no case has {only!r} in its name.")
    return chosen


@contextlib.contextmanager
def _server() -> Iterator[Operator]:
    """A server process of this run's own, and somebody who may tell it what to do."""
    with tempfile.TemporaryDirectory(prefix="conformance-server-") as folder:
        server = Server(Path(folder) / "server")
        added = run_cli("user", "add", "operator", "--password-stdin", "--dir", str(server.folder), stdin=PASSWORD)
        assert added.returncode == 0, added.stderr
        server.start()
        try:
            yield _log_in(server)
        finally:
            server.end(signal.SIGTERM)


def _log_in(server: Server) -> Operator:
    # The answer is not kept: its connection would stay open, and the server waits for that when it ends.
    login = server.call("POST", f"{MANAGEMENT}/useradm/auth/login", auth=("operator", PASSWORD))
    assert login.status_code == 200, login.text
    return Operator(server, login.text)


def _run(trials: Trials, cases: Sequence[Case], options: argparse.Namespace) -> int:
    """Run all cases and tell of each; returns how many failed."""
    failed = 0
    dialects = [options.dialect or case.dialect for case in cases]
    with ThreadPoolExecutor(options.jobs) as pool:
        try:
            for case, dialect, outcome in zip(cases, dialects, pool.map(trials.run, cases, dialects), strict=True):
                failed += not passed(case, dialect, outcome)
                print(told(case, dialect, outcome, verbose=options.verbose), flush=True)
        except BaseException:
            # Those under way see it, and those that wait end as soon as they begin.
            trials.stop.set()
            pool.shutdown(cancel_futures=True)
            raise
    return failed


if __name__ == "__main__":
    # However it is told to end, it ends what it has started.
    signal.signal(signal.SIGTERM, signal.default_int_handler)
    sys.exit(main())
