# SPDX-License-Identifier: Apache-2.0
"""From a board and a server to the evidence that is judged.  Nothing here asks the updater."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from harness.board import Board
from harness.board.machine import Media
from harness.judge import (
    SLOTS,
    Evidence,
    KnownImage,
    Medium,
    ServerRecord,
    Slot,
    alarms,
    data,
    identify,
    partitions,
    read_environment,
)
from harness.judge.updatestore import PATH as STORE
from harness.judge.updatestore import read_store
from harness.storage import CrashPoint, open_epoch
from images.layout import Layout

# Printed by the board's init from the kernel's command line.
UP = re.compile(rb"is up on /dev/vda([12])\b")


@dataclass(frozen=True)
class Known:
    """What is known beforehand about a device: its layout, U-Boot's defaults, good images, the owner's files."""

    layout: Layout
    defaults: Mapping[str, str]
    images: Sequence[KnownImage]
    keepsakes: Mapping[str, bytes]


@dataclass(frozen=True)
class Observed:
    """What a verdict is about: the versions in play, and what was seen."""

    old: str
    new: str
    server: ServerRecord | None
    console: bytes  # everything said since the last claim
    running: Slot | None  # what came up last since the board was switched on
    expected_alarms: Collection[str]
    settled: bool = True
    has_flushes: bool = True


def running_slot(console: bytes) -> Slot | None:
    """The slot that came up last, if any did."""
    found = UP.findall(console)
    return SLOTS[int(found[-1]) - 1] if found else None


def media_now(board: Board) -> Media:
    """The media as they would be if the power failed now and nothing un-flushed survived."""
    log = board.log
    log.poll()
    position = len(log.operations)
    lost = frozenset(one.index for one in open_epoch(log.operations, position, board.spec.layout))
    return Media(board.media.base, board.surviving(CrashPoint(position, lost)))


def gather(medium: Medium, known: Known, observed: Observed, *, with_data: bool) -> Evidence:
    """Look at the media; `with_data` also checks the data partition, which takes longest."""
    found = data.examine(medium, known.layout, known.keepsakes, STORE) if with_data else None
    store = read_store(found.files[STORE]) if found else None
    return Evidence(
        environment=read_environment(medium, known.layout, known.defaults),
        defaults=known.defaults,
        slots={slot: identify(medium, known.layout, slot, known.images) for slot in SLOTS},
        partition_complaints=partitions.complaints(medium, known.layout),
        data_complaints=found.complaints if found else (),
        alarms=alarms(observed.console, observed.expected_alarms),
        server=observed.server,
        running=observed.running,
        faults_fired=True,  # one that did not fire has ended the run already
        settled=observed.settled,
        old=observed.old,
        new=observed.new,
        has_flushes=observed.has_flushes,
        artifact_names={image.name: image.artifact_name for image in known.images if image.artifact_name},
        stored_name=store.artifact if store else None,
    )
