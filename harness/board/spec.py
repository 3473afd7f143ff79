# SPDX-License-Identifier: Apache-2.0
"""What a board is, and where one of them runs: two frozen values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from images.layout import LAYOUT, Layout

SSH_PORT = 22
HOST_FOR_GUESTS = "10.0.2.2"  # this machine's loopback, as a guest of QEMU's user network sees it


@dataclass(frozen=True)
class BoardSpec:
    """What the board is.  `memory` in MiB."""

    uboot: Path
    name: str = "virt-a64"
    machine: str = "virt"
    cpu: str = "cortex-a57"
    memory: int = 256
    mac: str = "52:54:00:b0:07:01"
    watchdog: bool = True
    layout: Layout = LAYOUT
    stick: Path | None = None  # socket of a memory stick that is plugged in, if there is one


@dataclass(frozen=True)
class Wiring:
    """Where one run of a board has its media, its log and its sockets."""

    overlay: Path  # qcow2 over the factory's image
    log: Path  # the write log, new for every power-on
    monitor: Path  # QMP socket
    console: Path  # serial socket
    requests: Path | None = None  # what the disks are asked for, in QEMU's words, if somebody wants to know
