# SPDX-License-Identifier: Apache-2.0
"""Storage as values: the log of a board's writes, the power cuts it allows, and the disks they leave.

Works on files and values alone; knows no QEMU process, no board and no verdict.
"""

from harness.storage.crash import ATOM, Lose, choose, crash_extents, flushes, may_be_lost, open_epoch, tail_of, tearable
from harness.storage.crashpoint import CrashPoint, Tail
from harness.storage.extents import Extent, ExtentMap
from harness.storage.marks import Mark, decode, encode, marks
from harness.storage.overlay import write_overlay
from harness.storage.summary import summary
from harness.storage.view import DiskView
from harness.storage.writelog import Kind, LogError, Operation, WriteLog

__all__ = [
    "ATOM",
    "CrashPoint",
    "DiskView",
    "Extent",
    "ExtentMap",
    "Kind",
    "LogError",
    "Lose",
    "Mark",
    "Operation",
    "Tail",
    "WriteLog",
    "choose",
    "crash_extents",
    "decode",
    "encode",
    "flushes",
    "marks",
    "may_be_lost",
    "open_epoch",
    "summary",
    "tail_of",
    "tearable",
    "write_overlay",
]
