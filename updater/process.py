# SPDX-License-Identifier: Apache-2.0
"""Other people's programs: update modules, state scripts, and the system's own tools.

A program runs in its own process group and dies with the updater, as it would under a service manager: after an
unexpected start nobody else may still be at work on the update.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from updater.errors import UpdaterError
from updater.ports import Clock, SystemClock

OUTPUT_LIMIT = 10 * 1024  # bytes kept of what a program prints; the rest is read and dropped
ANSWER_LIMIT = 256 * 1024  # bytes of what is asked of a program
GRACE = 60.0  # seconds between being asked to end and being made to
TICK = 0.02  # seconds of real time between two looks at a program that prints nothing
LEFTOVERS_LIMIT = 10.0  # seconds that the kernel is given to end what was left behind
PR_SET_PDEATHSIG = 1
SHOWN = 400  # characters of what a program said when it failed
# In the environment of whatever works on an update: for whom, and in which session.
OWNER, SESSION = "BOOTPROOF_UPDATE_OF", "BOOTPROOF_UPDATE_SESSION"


class ProgramHung(UpdaterError):
    """A program did not end in its time and was ended."""


class Child:
    """A running program.  Its output and its errors are collected while it is watched.

    Args:
        owner: with it, it works on an update: what it starts and leaves behind is found again by `end_leftovers`.
        given: its standard input.
        limit: how many bytes are kept of what it prints.
        bound: it dies with the updater.

    Raises (when made):
        UpdaterError: it cannot be started.
    """

    def __init__(
        self,
        argv: Sequence[str],
        clock: Clock,
        timeout: float,
        cwd: Path | None = None,
        owner: str = "",
        *,
        given: bytes = b"",
        limit: int = OUTPUT_LIMIT,
        bound: bool = True,
    ) -> None:
        self.name = Path(argv[0]).name
        self._clock, self._timeout, self._limit = clock, timeout, limit
        self._deadline = clock.now() + timeout
        self._closed = False
        self._printed = {"output": bytearray(), "errors": bytearray()}
        try:
            self._process = subprocess.Popen(
                list(argv),
                cwd=cwd,
                stdin=subprocess.PIPE if given else subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                start_new_session=True,
                preexec_fn=_dying_with(os.getpid(), owner) if bound else None,
            )
        except OSError as error:
            raise UpdaterError(f"{argv[0]} cannot be run: {error.strerror}.") from error
        if self._process.stdin is not None:
            with contextlib.suppress(BrokenPipeError), self._process.stdin as wants:
                wants.write(given)  # small enough for the pipe to hold it
        self._selector = selectors.DefaultSelector()
        for name, pipe in (("output", self._process.stdout), ("errors", self._process.stderr)):
            assert pipe is not None
            os.set_blocking(pipe.fileno(), False)
            self._selector.register(pipe, selectors.EVENT_READ, name)

    @property
    def output(self) -> str:
        """What it has printed so far, at most `limit` bytes of it."""
        return self._printed["output"].decode(errors="replace")

    @property
    def errors(self) -> str:
        """What it has written to standard error so far, at most `limit` bytes of it."""
        return self._printed["errors"].decode(errors="replace")

    def lines(self) -> list[str]:
        """Everything it said, for a log."""
        return [*self.output.splitlines(), *self.errors.splitlines()]

    def running(self) -> bool:
        """Whether it still runs; takes what it has printed, and waits a moment if it has printed nothing.

        Raises:
            ProgramHung: its time is over; it has been ended.
        """
        if self._selector.get_map():
            self._take(TICK)
        else:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(TICK)
        if self._process.poll() is not None:
            return False
        self.check_time()
        return True

    def check_time(self) -> None:
        """
        Raises:
            ProgramHung: its time is over; it has been ended.
        """
        if self._clock.now() >= self._deadline:
            self.end()
            raise ProgramHung(f"{self.name} did not end within {self._timeout:.0f} s and was ended.")

    def wait(self) -> int:
        """Its exit code, negative for a signal.

        Raises:
            ProgramHung: its time is over; it has been ended.
        """
        while self.running():
            pass
        while self._selector.get_map() and self._selector.select(0):
            self._take(0)
        self._close()
        return self._process.returncode

    def end(self) -> None:
        """Ask its whole group to end, and make it."""
        if self._closed:
            return
        _signal_group(self._process.pid, signal.SIGTERM)
        until = self._clock.now() + GRACE
        while self._process.poll() is None and self._clock.now() < until:
            time.sleep(TICK)
        _signal_group(self._process.pid, signal.SIGKILL)  # with whatever it has started and left behind
        self._process.wait()
        self._close()

    def _take(self, patience: float) -> None:
        """Take what is there, waiting at most `patience` seconds for it."""
        for key, _ in self._selector.select(patience):
            chunk = os.read(key.fd, 65536)
            if chunk:
                kept = self._printed[key.data]
                kept += chunk[: max(0, self._limit - len(kept))]
            else:
                self._selector.unregister(key.fileobj)

    def _close(self) -> None:
        self._closed = True
        for key in list(self._selector.get_map().values()):
            self._selector.unregister(key.fileobj)
        self._selector.close()
        for pipe in (self._process.stdout, self._process.stderr):
            assert pipe is not None
            pipe.close()


class ProgramRunner:
    """Runs programs of this system that are asked something and answer at once.

    Raises (from `run`):
        UpdaterError: the program is missing, failed, took longer than `timeout` seconds, or printed too much.
    """

    def run(self, argv: Sequence[str], *, stdin: str = "", timeout: float = 60.0) -> str:
        child = Child(argv, SystemClock(), timeout, given=stdin.encode(), limit=ANSWER_LIMIT, bound=False)
        if code := child.wait():
            raise UpdaterError(f"{argv[0]} failed with status {code}: {child.errors.strip()[-SHOWN:]}")
        if len(child.output) >= ANSWER_LIMIT:
            raise UpdaterError(f"{argv[0]} printed more than {ANSWER_LIMIT // 1024} KiB.")
        return child.output


def end_leftovers(owner: str) -> None:
    """End what programs of an updater that is no more have started: nobody else may be at work on the update.

    What has gone into a session of its own, as a service does, is meant to stay.  The caller must be the only one
    that installs.
    """
    wanted = f"{OWNER}={owner}".encode()
    until = time.monotonic() + LEFTOVERS_LIMIT
    while (left := _marked(wanted)) and time.monotonic() < until:
        for number in left:
            with contextlib.suppress(OSError):
                os.kill(number, signal.SIGKILL)
        time.sleep(TICK)


def _marked(wanted: bytes) -> list[int]:
    """The processes with that variable in their environment, in the session that they were started in."""
    found = []
    for place in Path("/proc").iterdir():
        with contextlib.suppress(OSError, ValueError):
            number, variables = int(place.name), (place / "environ").read_bytes().split(b"\0")
            session = f"{SESSION}={os.getsid(number)}".encode()
            if number != os.getpid() and wanted in variables and session in variables:
                found.append(number)
    return found


def _signal_group(group: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.killpg(group, number)


def _dying_with(parent: int, owner: str) -> Callable[[], None]:
    """What a child does before it becomes the program: be marked, and ask the kernel to be ended with its parent."""
    import ctypes  # only devices that run modules or scripts need it

    prctl = ctypes.CDLL(None).prctl

    def ask() -> None:
        prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != parent:  # it ended in between
            os._exit(1)
        if owner:
            os.environ.update({OWNER: owner, SESSION: str(os.getpid())})

    return ask
