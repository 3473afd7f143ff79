# SPDX-License-Identifier: Apache-2.0
"""Programs that run beside the harness: they die with it, and it is proven that they are gone."""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from harness.errors import HostProblem
from images.run import environment

GONE_WITHIN = 10.0


class Process:
    """A child in its own session that the kernel kills when this process dies.

    Raises (when made):
        HostProblem: the program is missing.
    """

    def __init__(
        self,
        argv: Sequence[str],
        *,
        stderr: Path,
        stdout: int | IO[bytes] | None = None,
        stdin: int = subprocess.DEVNULL,
        env: Mapping[str, str] = {},
    ) -> None:
        full = environment(env)
        if shutil.which(argv[0], path=full["PATH"]) is None:
            raise HostProblem(f"The program '{argv[0]}' is missing.", "Run 'bootproof doctor' to see what to install.")
        self.argv = tuple(argv)
        self._errors = stderr
        with stderr.open("ab") as errors:
            # The parent-death signal, without running Python between fork and exec.
            self._child = subprocess.Popen(
                ["setpriv", "--pdeathsig", "KILL", "--", *argv],
                stdin=stdin,
                stdout=stdout if stdout is not None else errors,
                stderr=errors,
                env=full,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        return self._child.pid

    @property
    def stdout(self) -> IO[bytes]:
        assert self._child.stdout is not None
        return self._child.stdout

    @property
    def stdin(self) -> IO[bytes]:
        assert self._child.stdin is not None
        return self._child.stdin

    @property
    def running(self) -> bool:
        return self._child.poll() is None

    @property
    def ended_well(self) -> bool:
        """Whether it has ended by itself, with nothing to complain of."""
        return self._child.poll() == 0

    def said(self) -> str:
        """The end of what it wrote to its standard error."""
        return self._errors.read_text(errors="replace")[-2000:].strip()

    @contextlib.contextmanager
    def held(self) -> Iterator[None]:
        """It does nothing for as long as the block lasts."""
        os.kill(self.pid, signal.SIGSTOP)
        try:
            os.waitid(os.P_PID, self.pid, os.WSTOPPED | os.WEXITED | os.WNOWAIT)
            yield
        finally:
            os.kill(self.pid, signal.SIGCONT)

    def kill(self) -> None:
        """End it at once, as a power cut does; returns when it is gone."""
        if self.running:
            os.kill(self._child.pid, signal.SIGKILL)
        self._wait()

    def terminate(self) -> int:
        """Ask it to end, and end it if it does not; returns its exit status."""
        if self.running:
            self._child.terminate()
            try:
                self._child.wait(GONE_WITHIN)
            except subprocess.TimeoutExpired:
                self._child.kill()
        return self._wait()

    def _wait(self) -> int:
        status = self._child.wait(GONE_WITHIN)
        for pipe in (self._child.stdout, self._child.stdin):
            if pipe:
                with contextlib.suppress(BrokenPipeError):
                    pipe.close()
        return status
