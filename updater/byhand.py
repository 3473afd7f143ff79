# SPDX-License-Identifier: Apache-2.0
"""An update by hand that nobody will end must not keep the server's from coming."""

from __future__ import annotations

import logging

from updater.machine.standalone import STANDALONE
from updater.machine.steps import Step
from updater.machine.world import World
from updater.standalone import Standalone
from updater.store import Store

AWAITS_COMMIT = STANDALONE.stored[Step.AWAIT_COMMIT]
LOST = {STANDALONE.stored[step] for step in (Step.AWAIT_COMMIT, Step.ROLLBACK_ENTER, Step.FAILURE_ENTER, Step.CLEANUP)}
log = logging.getLogger(__name__)


def close_by_hand(store: Store, world: World) -> None:
    """Finish one that was interrupted; roll one back for good whose system the bootloader has given up.

    What waits for a person is left to them.

    Raises:
        UpdaterError: it cannot be found out or not be stored, or somebody is at work on it.
    """
    device = store.load()
    update = device.update
    if update is None or update.deployment:
        return
    by_hand = Standalone(store, world)
    finished = by_hand.finish()
    if finished is not None:
        log.warning("an update that was begun by hand was not ended: %s", " ".join(finished.lines))
        if finished.wants_reboot:  # otherwise the device would stay on a system that nobody has kept
            world.runner.run(["reboot"])
        return
    if update.target and update.state in LOST and world.make_installer(device).restored():
        log.warning("the update that was begun by hand did not come up, and is rolled back")
        by_hand.rollback() if update.state == AWAITS_COMMIT else by_hand.resume()
