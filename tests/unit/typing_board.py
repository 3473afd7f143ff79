# SPDX-License-Identifier: Apache-2.0
"""A board that is only a shell on a serial console, for what is typed there: this machine's, without line editing."""

import contextlib
import socket
import subprocess
import threading
from collections.abc import Callable, Iterator
from pathlib import Path

from harness.board.console import Console
from harness.clock import Deadline

PROMPT = b"board:~# "
BANNER = b"\r\nU-Boot 2023.01 (a moment ago)\r\n"


class TypingBoard:
    """`spoils` may put something between what a line prints; a line that holds a word of `restarts` starts it anew."""

    def __init__(self, listener: socket.socket, spoils: Callable[[bytes], bytes] = lambda said: said) -> None:
        self.restarts = [b"reboot"]
        self.lines: list[str] = []
        self._listener, self._spoils = listener, spoils
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        wire, _ = self._listener.accept()
        with wire, contextlib.suppress(OSError):
            wire.sendall(BANNER + PROMPT)
            typed = b""
            while chunk := wire.recv(4096):
                typed += chunk
                while b"\r" in typed:
                    line, _, typed = typed.partition(b"\r")
                    wire.sendall(line + b"\r\n" + self._answer(line))

    def _answer(self, line: bytes) -> bytes:
        self.lines.append(line.decode())
        due = next((word for word in self.restarts if word in line), None)
        if due is not None:
            if due != b"reboot":
                self.restarts.remove(due)
            return BANNER + PROMPT
        done = subprocess.run(["sh", "-c", line], capture_output=True, check=False)
        return self._spoils(done.stdout.replace(b"\n", b"\r\n")) + done.stderr + PROMPT


@contextlib.contextmanager
def typing_board(
    folder: Path, spoils: Callable[[bytes], bytes] = lambda said: said
) -> Iterator[tuple[TypingBoard, Console]]:
    """The board, and the console that is joined to it."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "tty"))
        listener.listen(1)
        board = TypingBoard(listener, spoils)
        with contextlib.closing(Console(folder / "tty", folder / "console.log", Deadline(5))) as console:
            yield board, console
