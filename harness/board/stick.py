# SPDX-License-Identifier: Apache-2.0
"""A memory stick that somebody holds: plugged into a board, and pulled out of it at any time.

A program of its own serves it to QEMU, so that pulling it is ending that program: from then on every read of it
fails on the board.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Sequence
from pathlib import Path

from harness.clock import Deadline, poll
from harness.errors import HostProblem
from harness.process import Process
from images import ext4
from images.layout import MIB

PROGRAM = "qemu-nbd"
UUID = "b007b007-0000-4000-8000-000000000004"
START_SECONDS = 20.0
ROOM = 4 * MIB  # for the file system itself


class Stick:
    """A stick with an ext4 file system that holds `files`, by their names.

    Raises (when made):
        HostProblem: it cannot be served.
    """

    def __init__(self, files: Sequence[Path], log: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="bootproof-"))
        self.socket = self._folder / "stick"
        try:
            self._process = self._serve(files, log)
        except BaseException:
            shutil.rmtree(self._folder)
            raise

    def _serve(self, files: Sequence[Path], log: Path) -> Process:
        tree, image = self._folder / "tree", self._folder / "stick.img"
        tree.mkdir()
        for file in files:
            shutil.copyfile(file, tree / file.name)
        size = ROOM + sum(-(-file.stat().st_size // MIB) * MIB for file in files)
        ext4.make(tree, image, size=size, uuid=UUID, label="stick", journal=False)
        words = [PROGRAM, "--persistent", "--read-only", "--format=raw", f"--socket={self.socket}", str(image)]
        process = Process(words, stderr=log)
        if not poll(self.socket.exists, Deadline(START_SECONDS), every=0.01):
            process.kill()
            raise HostProblem(f"The stick is not served: {process.said()}", "Is qemu-utils installed?")
        return process

    def pull(self) -> None:
        """Out, whatever the board is doing with it; safe to call twice."""
        self._process.kill()
        shutil.rmtree(self._folder, ignore_errors=True)
