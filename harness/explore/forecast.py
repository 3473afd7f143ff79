# SPDX-License-Identifier: Apache-2.0
"""How an update that was cut should go on, from what the device and the server hold: what starts first, and what runs
in the end.  Booting shows how often this is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

from harness.explore.recording import About
from harness.explore.static import DeviceState
from harness.judge.evidence import SAYS_NEW

UNTOUCHED: Final = (None, "update-fetch", "update-store")  # nothing was flipped: the update goes on as if never cut


@dataclass(frozen=True)
class Forecast:
    """Names of known images; None: nothing that is known."""

    starts: str | None
    runs: str | None


def forecast(state: DeviceState, about: About) -> Forecast:
    """What should become of a device in this state.

    An update that was not flipped to yet ends as the story does without a cut; one that was ends in whatever starts.
    """
    ends_new = about.heard[-1].record.status in SAYS_NEW
    update = state.store.state if state.store else None
    if not ends_new:
        return Forecast(state.boots, about.old)
    if update in UNTOUCHED and state.told not in SAYS_NEW:
        return Forecast(state.boots, about.new)
    return Forecast(state.boots, state.boots)
