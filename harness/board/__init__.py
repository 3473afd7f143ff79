# SPDX-License-Identifier: Apache-2.0
"""The board: a frozen description, a QEMU command line made from it, and the running machine."""

from harness.board.machine import Board
from harness.board.spec import BoardSpec, Wiring

__all__ = ["Board", "BoardSpec", "Wiring"]
