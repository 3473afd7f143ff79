# SPDX-License-Identifier: Apache-2.0
"""The board: a frozen description, a QEMU command line made from it, and the running machine."""

from harness.board.machine import Board
from harness.board.spec import HOST_FOR_GUESTS, BoardSpec, Wiring

__all__ = ["HOST_FOR_GUESTS", "Board", "BoardSpec", "Wiring"]
