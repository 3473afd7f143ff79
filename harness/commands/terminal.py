# SPDX-License-Identifier: Apache-2.0
"""A user's terminal, joined to a board's serial console."""

from __future__ import annotations

import contextlib
import os
import select
import sys
import termios
import threading
import tty
from collections.abc import Iterator

from harness.board.console import Console

LEAVE = "Ctrl-]"
LEAVE_BYTE = b"\x1d"
LOOK_SECONDS = 0.2


def bridge(console: Console, *, from_the_start: bool = False) -> None:
    """Pass everything on, both ways, until the user leaves or the board is off.

    What the board has said before is shown if it is wanted `from_the_start`; otherwise its prompt is asked for again,
    because it has been printed already.  A board that starts must not be asked: a key stops its bootloader.
    """
    descriptor = sys.stdin.fileno()
    over = threading.Event()
    place = 0 if from_the_start else len(console.text)
    if not from_the_start:
        with contextlib.suppress(OSError):
            console.send(b"\r")
    output = threading.Thread(target=_show, args=(console, place, over), name="terminal", daemon=True)
    with _raw(descriptor):
        output.start()
        try:
            while not over.is_set():
                if not select.select([descriptor], [], [], LOOK_SECONDS)[0]:
                    continue
                typed = os.read(descriptor, 1024)
                before, leaving, _ = typed.partition(LEAVE_BYTE)
                console.send(before)
                if leaving or not typed:
                    break
        except BrokenPipeError:  # the board went off while something was typed
            pass
        finally:
            over.set()
            output.join()


def _show(console: Console, place: int, over: threading.Event) -> None:
    """What the board says after so many bytes."""
    while not over.is_set():
        try:
            fresh = console.take(place, LOOK_SECONDS)
        except EOFError:
            over.set()
            return
        place += len(fresh)
        sys.stdout.buffer.write(fresh)
        sys.stdout.buffer.flush()


@contextlib.contextmanager
def _raw(descriptor: int) -> Iterator[None]:
    """Every key goes to the board, Ctrl-C too; afterwards the terminal is as it was."""
    before = termios.tcgetattr(descriptor)
    tty.setraw(descriptor)
    try:
        yield
    finally:
        termios.tcsetattr(descriptor, termios.TCSADRAIN, before)
        print()
