# SPDX-License-Identifier: Apache-2.0
"""Does what the updater has stored keep up with the bootloader?  Each step is stored before it is done, so that a start
knows where to go on; a record that is behind what is already done leads a start astray.

A start may still find its way, so this is no violation by itself: it says which points are worth a boot.  Only what a
managed update of our own updater stores is known; of all else nothing is said.
"""

from __future__ import annotations

from typing import Final

from harness.judge.bootmodel import NextBoot
from harness.judge.updatestore import UpdateStore
from harness.judge.verdict import Finding

RULE: Final = "order"
BEFORE_FLIP: Final = frozenset({"update-fetch", "update-store", "update-after-store"})
BEFORE_COMMIT: Final = BEFORE_FLIP | {"update-install", "reboot", "after-reboot"}


def in_order(boot: NextBoot, starts: str | None, old: str, new: str, store: UpdateStore, name: str) -> Finding:
    """Whether the record is not behind.

    Args:
        boot: what the bootloader does next, and `starts` the image that it starts.
        name: what a device that runs `new` calls itself; empty if that is not known.
    """
    final = starts == new != old and not boot.trial
    if store.state is None:
        behind = final and bool(name) and store.artifact != name
        says = f"{new} is final and no update is under way, but the device still calls itself {store.artifact}."
    else:
        behind = store.state in (BEFORE_COMMIT if final else BEFORE_FLIP if boot.trial else ())
        says = f"{new} is {'final' if final else 'on trial'}, but the record says '{store.state}'."
    return Finding(RULE, not behind, says if behind else "The record is not behind what was done.")
