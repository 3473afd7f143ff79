# SPDX-License-Identifier: Apache-2.0
"""The running board, with three verbs that are never confused:

    soft_reboot   the guest asks for it: processes end, caches are written
    reset         the button: memory and the caches of the devices survive
    cut_power     the plug: memory, caches and what was not flushed are gone

The board's media are a value (a base image and extents over it); switching on makes a disk from it, and a cut makes
the next value from what the write log holds.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import paramiko

from harness.board.argv import command_line
from harness.board.console import Console
from harness.board.qmp import Monitor
from harness.board.shell import Shell
from harness.board.spec import BoardSpec, Wiring
from harness.clock import Deadline, poll
from harness.errors import GuestFault, HarnessBug, HostProblem
from harness.process import Process
from harness.storage import CrashPoint, DiskView, ExtentMap, Operation, WriteLog, crash_extents, write_overlay

START_SECONDS = 20.0
LOG_LOOK_SECONDS = 0.001


@dataclass(frozen=True)
class Media:
    """What is on a board's media: `extents` over the read-only `base`."""

    base: Path
    extents: ExtentMap

    @property
    def view(self) -> DiskView:
        return DiskView(self.base, self.extents)


class Board:
    """One board; may be switched on many times.  Every power-on has a number, a log and a console of its own."""

    def __init__(self, spec: BoardSpec, media: Media, folder: Path, key: paramiko.PKey) -> None:
        self.spec, self.media, self.folder = spec, media, folder
        self.power_ons = 0
        self.traced = False  # the next power-on keeps what the disks are asked for
        self.key = key
        # Sockets have short names only, and every board its own place.
        self._sockets = Path(tempfile.mkdtemp(prefix="bootproof-"))
        self._process: Process | None = None
        self._monitor: Monitor | None = None
        self._console: Console | None = None
        self._log: WriteLog | None = None

    # -- power ---------------------------------------------------------------------------------------------------

    @property
    def on(self) -> bool:
        return self._process is not None and self._process.running

    @property
    def switched_itself_off(self) -> bool:
        """Whether the guest has powered the machine off."""
        return self._process is not None and self._process.ended_well

    def said(self) -> str:
        """The end of what QEMU itself has complained of."""
        return self._process.said() if self._process else ""

    def power_on(self) -> None:
        """Make a disk from the media and start the machine.

        Raises:
            HostProblem: QEMU cannot be started.
        """
        if self.on:
            raise HarnessBug("The board is on already.")
        number = self.power_ons + 1
        wiring = Wiring(
            overlay=self.folder / f"disk-{number}.qcow2",
            log=self.folder / f"write-{number}.log",
            monitor=self._sockets / f"qmp-{number}",
            console=self._sockets / f"tty-{number}",
            requests=self.folder / f"requests-{number}.log" if self.traced else None,
        )
        write_overlay(wiring.overlay, self.media.base, self.spec.layout.size, self.media.extents)
        wiring.log.touch()
        self.argv = command_line(self.spec, wiring)
        deadline = Deadline(START_SECONDS)
        self._process = Process(self.argv, stderr=self.folder / "qemu.log")
        try:
            self._console = Console(wiring.console, self.folder / f"console-{number}.log", deadline)
            self._monitor = Monitor(wiring.monitor, deadline)
            if self._log is not None:
                self._log.close()
            self._log = WriteLog(wiring.log)
            self.power_ons = number
        except (GuestFault, HostProblem) as error:
            said = self._process.said()
            self.kill()
            raise HostProblem(f"The board did not start: {said or error.message}", "Run 'bootproof doctor'.") from error

    def kill(self) -> None:
        """Stop the machine at once, without judging what that does to its media; safe to call twice."""
        if self._process is not None:
            self._process.kill()
        if self._monitor is not None:
            self._monitor.close()
            self._monitor = None
        if self._console is not None:
            self._console.close()

    def cut_power(self, choose: Callable[[list[Operation]], CrashPoint]) -> CrashPoint:
        """The plug: stop now, let `choose` say what of the log survived, and make that the board's media."""
        self.kill()
        self.log.poll()  # what QEMU was just writing when it was killed was never completed
        point = choose(self.log.operations)
        self.media = Media(self.media.base, self.surviving(point))
        return point

    def surviving(self, point: CrashPoint) -> ExtentMap:
        """What the media would hold if power failed at `point` of this power-on's log."""
        return crash_extents(self.log, point, self.spec.layout).over(self.media.extents)

    def reset(self) -> None:
        """The button."""
        self.monitor.command("system_reset")

    def soft_reboot(self, deadline: Deadline) -> None:
        """The guest asks."""
        with self.shell() as shell:
            shell.run("(sleep 0.2; reboot) >/dev/null 2>&1 &", deadline)

    def stop_when(self, reached: Callable[[], bool], deadline: Deadline) -> bool:
        """Kill the machine as soon as `reached` says so; False if it did not in time (the board is still on then)."""

        def look() -> bool:
            if reached():
                assert self._process is not None
                self._process.kill()
                return True
            return False

        return bool(poll(look, deadline, every=LOG_LOOK_SECONDS))

    # -- lines ---------------------------------------------------------------------------------------------------

    @property
    def log(self) -> WriteLog:
        """The write log of the last power-on."""
        if self._log is None:
            raise HarnessBug("The board has never been on.")
        return self._log

    @property
    def console(self) -> Console:
        """The serial line of the last power-on."""
        if self._console is None:
            raise HarnessBug("The board has never been on.")
        return self._console

    @property
    def monitor(self) -> Monitor:
        if self._monitor is None:
            raise HarnessBug("The board is off.")
        return self._monitor

    def shell(self) -> Shell:
        """A way to run commands on the board."""
        return Shell(self.monitor.ssh_port(), self.key)

    def close(self) -> None:
        """Off, and nothing left but the run folder."""
        self.kill()
        if self._log is not None:
            self._log.close()
        shutil.rmtree(self._sockets, ignore_errors=True)
