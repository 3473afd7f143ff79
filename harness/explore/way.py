# SPDX-License-Identifier: Apache-2.0
"""What a board was about to start on its way back from a cut.  One that flips to a broken system, and is saved by the
bootloader, ends as it should; the flip was wrong all the same."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from harness.explore.card import Card
from harness.judge import SLOTS, KnownImage, Slot, identify, next_boot, parse_copies
from harness.storage import CrashPoint, DiskView, Kind, WriteLog, crash_extents
from images.layout import Layout


@dataclass(frozen=True)
class Turn:
    """From `position` of the log on, the bootloader would have started `slot`."""

    position: int
    slot: Slot
    trial: bool


def turns(log: WriteLog, before: DiskView, layout: Layout, defaults: Mapping[str, str]) -> Iterator[Turn]:
    """What was to be booted, each time that it changed; first of all when the power came on.

    Args:
        log: all that was written; whatever it holds counts as durable.
        before: the media when the power came on.
    """
    card, operations, seen = Card(before, log, layout), log.operations, None
    writes = (one for one in operations if one.kind is Kind.WRITE and one.address in layout.card)
    for operation in (None, *writes):
        if operation is not None:
            card.add(operation)
        position = operation.index + 1 if operation is not None else 0
        boot = next_boot(parse_copies(card.copies(CrashPoint(position)), defaults), defaults)
        if boot.slot is not None and (boot.slot, boot.trial) != seen:
            seen = (boot.slot, boot.trial)
            yield Turn(position, boot.slot, boot.trial)


def unused(log: WriteLog, before: DiskView, layout: Layout, defaults: Mapping[str, str]) -> Slot | None:
    """The slot that was never to be booted since the power came on; None if both were, or neither."""
    used = {turn.slot for turn in turns(log, before, layout, defaults)}
    return next((slot for slot in SLOTS if len(used) == 1 and slot not in used), None)


def wrong_flip(
    log: WriteLog, before: DiskView, layout: Layout, defaults: Mapping[str, str], images: Sequence[KnownImage]
) -> str | None:
    """The first moment at which the bootloader would have started something that is none of the images, in one
    sentence; None if there was none."""
    for turn in turns(log, before, layout, defaults):
        extents = crash_extents(log, CrashPoint(turn.position), layout).over(before.extents)
        if identify(DiskView(before.base, extents), layout, turn.slot, images) is None:
            trial = " on trial" if turn.trial else ""
            return f"On the way, slot {turn.slot.upper()} was to be booted{trial} while it held no known system."
    return None
