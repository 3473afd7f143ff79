# SPDX-License-Identifier: Apache-2.0
"""A process that boots crash points, one after the other, in a network of its own: the boards of a recording all look
for their server at the same port.

Reads tasks from standard input and writes what became of each to standard output, as JSON, a line each.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import signal
import socket
import struct
import sys
from typing import Any, Final

from harness.errors import BootproofError
from harness.explore.revive import Booted, Task, boot
from harness.judge import Outcome
from images.errors import ImageError

SIOCSIFFLAGS: Final = 0x8914
IFF_UP: Final = 0x1
COMMAND: Final = ("unshare", "--map-root-user", "--net", "--", sys.executable, "-m", "harness.explore.worker")


def main() -> None:
    """Until standard input ends, or somebody asks it to end: then the board and its server are put away first."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    _loopback_up()
    answers = sys.stdout
    with contextlib.redirect_stdout(sys.stderr):
        for line in sys.stdin:
            answers.write(json.dumps(_done(Task(**json.loads(line)))) + "\n")
            answers.flush()


def _done(task: Task) -> dict[str, Any]:
    try:
        return boot(task).as_dict()
    except (BootproofError, ImageError) as error:
        return Booted(task.point, task.heard, Outcome.INCONCLUSIVE.value, f"Not booted: {error}").as_dict()


def _loopback_up() -> None:
    """A new network has a loopback that is down."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as any_socket:
        fcntl.ioctl(any_socket, SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", IFF_UP))


if __name__ == "__main__":
    main()
