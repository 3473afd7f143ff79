# SPDX-License-Identifier: Apache-2.0
"""Power-on to updater ready: through the harness, and the same QEMU command by hand, side by side in one run.

Prints one JSON object: medians in seconds and their ratio (the harness may cost at most 5 %).
"""

from __future__ import annotations

import argparse
import json
import socket
import statistics
import subprocess
import time
from pathlib import Path

from harness.board import Board, BoardSpec, Wiring
from harness.board.argv import command_line
from harness.clock import Deadline
from harness.lab import scratch_lab
from harness.storage import write_overlay
from images.catalogue import Catalogue
from images.stage import Workshop

READY = "bootproof-updater, device"
LIMIT = 120.0


def through_harness(board: Board) -> float:
    """One power-on of a board by its own verbs."""
    began = time.monotonic()
    board.power_on()
    board.console.expect(READY, Deadline(LIMIT))
    took = time.monotonic() - began
    board.kill()
    return took


def by_hand(spec: BoardSpec, board: Board, folder: Path, number: int) -> float:
    """The same machine with nothing around it: make the disk, start QEMU, read the serial line."""
    wiring = Wiring(*(folder / f"{name}-{number}" for name in ("disk", "log", "qmp", "tty")))
    began = time.monotonic()
    write_overlay(wiring.overlay, board.media.base, spec.layout.size, board.media.extents)
    wiring.log.touch()
    child = subprocess.Popen(command_line(spec, wiring), stdin=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    line = socket.socket(socket.AF_UNIX)
    while True:
        try:
            line.connect(str(wiring.console))
            break
        except OSError:
            time.sleep(0.005)
    heard = b""
    while READY.encode() not in heard:
        heard += line.recv(65536)
    took = time.monotonic() - began
    child.kill()
    child.wait()
    line.close()
    return took


def main() -> None:
    """Alternate the two ways, so that whatever else the machine does hits both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    rounds = parser.parse_args().rounds
    with scratch_lab(Catalogue(Workshop()), "bench", 1) as lab:
        board, folder = lab.board, lab.folder.path
        pairs = [(through_harness(board), by_hand(board.spec, board, folder, number)) for number in range(rounds)]
    harness, hand = (statistics.median(column) for column in zip(*pairs, strict=True))
    print(json.dumps({"rounds": rounds, "harness_s": harness, "by_hand_s": hand, "ratio": round(harness / hand, 3)}))


if __name__ == "__main__":
    main()
