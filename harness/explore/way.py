# SPDX-License-Identifier: Apache-2.0
"""What a board was about to start on its way back from a cut.  One that flips to a broken system, and is saved by the
bootloader, ends as it should; the flip was wrong all the same."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from harness.explore.card import Card
from harness.judge import Environment, KnownImage, choose, identify, next_boot, parse_copy
from harness.storage import CrashPoint, DiskView, Kind, WriteLog, crash_extents
from images.layout import Layout


def wrong_flip(
    log: WriteLog, before: DiskView, layout: Layout, defaults: Mapping[str, str], images: Sequence[KnownImage]
) -> str | None:
    """The first moment at which the bootloader would have started something that is none of the images, in one
    sentence; None if there was none.

    Args:
        log: all that was written; whatever it holds counts as durable.
        before: the media when the power came on.
    """
    card, operations, seen = Card(before, log, layout), log.operations, None
    for operation in operations:
        card.add(operation)
        if operation.kind is not Kind.WRITE or operation.address not in layout.card:
            continue
        point = CrashPoint(operation.index + 1)
        copies = [parse_copy(one, redundant=len(layout.env_offsets) > 1) for one in card.copies(operations, point)]
        boot = next_boot(Environment(tuple(copies), choose(copies), defaults), defaults)
        if boot.slot is None or (boot.slot, boot.trial) == seen:
            continue
        seen = (boot.slot, boot.trial)
        disk = DiskView(before.base, crash_extents(log, point, layout).over(before.extents))
        if identify(disk, layout, boot.slot, images) is None:
            trial = " on trial" if boot.trial else ""
            return f"On the way, slot {boot.slot.upper()} was to be booted{trial} while it held no known system."
    return None
