# SPDX-License-Identifier: Apache-2.0
"""Commands typed on the serial console of a board of which nothing else is known: no network, no SSH.

What a command printed stands between two lines that say their number.  They are typed with quotes within, so that the
echo is none of them; the last one comes several times and with the exit code, in case the kernel speaks in between.
"""

from __future__ import annotations

import re
import shlex
from dataclasses import dataclass
from typing import Final

from harness.board.console import Console
from harness.clock import Deadline
from harness.errors import GuestFault

PROMPT: Final = r"[~/\w]# "  # of a shell of root
STARTS: Final = r"U-Boot \d{4}\.\d\d"  # said by the bootloader, first of all
UNSEEN: Final = re.compile(r"\r|\x1b\[[0-9;]*[A-Za-z]")  # what moves a terminal's cursor, or colours it
TAIL: Final = 400  # bytes of the console that are told
LONGEST: Final = 800  # characters of a command; busybox's shell takes a line of 1024


@dataclass(frozen=True)
class Typed:
    """What a command printed (with whatever else came on the console meanwhile), and its exit code."""

    printed: str
    code: int


class Keyboard:
    """Types on a board that is on; `ready` is a regular expression that its console shows when it is up."""

    def __init__(self, console: Console, ready: str) -> None:
        self._console, self._ready = console, ready
        self._typed = 0

    def wait_ready(self, deadline: Deadline) -> None:
        """Wait until the board is up.

        Raises:
            GuestFault: it does not come up in time.
        """
        self._console.expect(self._ready, deadline)

    def run(self, command: str, deadline: Deadline) -> Typed | None:
        """Run a command on the board, which is up; None if the board started anew before the command had ended.

        Raises:
            GuestFault: neither came in time.
        """
        self._typed += 1
        begins, ends = f"[{self._typed}:begins]", rf"\[{self._typed}:(\d+)\]"
        place = len(self._console.text)
        self._console.send(_line(self._typed, command).encode())
        try:
            found = self._console.expect(f"{ends}|{STARTS}", deadline)
        except GuestFault as late:
            tail = self._console.text[-TAIL:].decode("utf-8", "replace")
            said = f"'{command}' did not end on the board within {deadline.seconds:.0f} s; the console ends: {tail}"
            raise GuestFault(said) from late
        if found.group(1) is None:
            return None
        said = self._console.text[place:].decode("utf-8", "replace")
        printed = UNSEEN.sub("", re.split(ends, said.rpartition(begins)[2])[0])
        return Typed(printed.strip("\n"), int(found.group(1)))

    def reboot(self, deadline: Deadline) -> None:
        """Have the board, which is up, start anew.

        Raises:
            GuestFault: it does not in time.
        """
        self._console.send(b"reboot\r")
        self._console.expect(STARTS, deadline)


def fits(command: str) -> bool:
    """Whether a command can be typed: one line, and not too long a one."""
    return len(shlex.quote(command)) <= LONGEST and command.isprintable()


def _line(number: int, command: str) -> str:
    """What is typed.  The command has a shell of its own, so that nothing in it keeps the rest from being read."""
    last = f'for i in 1 2 3; do echo "[{number}:""$c]"; done'
    return f'echo "[{number}:""begins]"; sh -c {shlex.quote(command)}; c=$?; {last}\r'
