# SPDX-License-Identifier: Apache-2.0
"""QEMU's monitor: the few commands a board needs, over the qemu.qmp library."""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any

from qemu.qmp import QMPError
from qemu.qmp.legacy import QEMUMonitorProtocol

from harness.clock import Deadline, poll
from harness.errors import HostProblem

ANSWER_SECONDS = 30.0
FORWARD = re.compile(r"TCP\[HOST_FORWARD\]\s+\d+\s+127\.0\.0\.1\s+(\d+)\s")


class Monitor:
    """A connection to the monitor socket of a running QEMU.

    Raises (from every method):
        HostProblem: QEMU did not answer, or refused.
    """

    def __init__(self, socket: Path, deadline: Deadline) -> None:
        self._qmp = QEMUMonitorProtocol(str(socket))
        self._qmp.settimeout(ANSWER_SECONDS)
        if poll(lambda: self._connect(), deadline, every=0.01) is None:
            self._qmp.close()
            raise HostProblem("QEMU's monitor did not answer.", "See qemu.log in the run folder.")

    def _connect(self) -> bool:
        try:
            self._qmp.connect(negotiate=True)
        except (OSError, QMPError):
            return False
        return True

    def command(self, name: str, /, **arguments: Any) -> Any:
        """Run one monitor command and return its answer."""
        try:
            return self._qmp.cmd(name, **arguments)
        except (OSError, QMPError) as error:
            raise HostProblem(f"QEMU did not take '{name}': {error}.") from error

    def ssh_port(self) -> int:
        """The loopback port that QEMU forwards to the board's SSH server."""
        network = self.command("human-monitor-command", **{"command-line": "info usernet"})
        found = FORWARD.search(network)
        if not found:
            raise HostProblem("QEMU forwards no port to the board.", "Was the board built with a network?")
        return int(found.group(1))

    def close(self) -> None:
        """Hang up; QEMU may be gone already."""
        with contextlib.suppress(OSError, QMPError, EOFError):
            self._qmp.close()
