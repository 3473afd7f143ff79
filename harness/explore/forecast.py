# SPDX-License-Identifier: Apache-2.0
"""How an update that was cut should go on, from what the device and the server hold: what starts first, and what there
is in the end.  Booting shows how often this is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Literal

from harness.explore.recording import About
from harness.explore.static import DeviceState
from harness.judge.evidence import SAYS_NEW, SAYS_OLD

FETCHED_ANEW: Final = (None, "update-fetch")  # nothing was begun: the server says once more what there is
STORING: Final = "update-store"  # nothing was flipped: gone on with, if it is known what the payload is
ENDED: Final = SAYS_OLD + SAYS_NEW
RESUMED: Final = "Before_ArtifactInstall_Enter"  # by hand: fetched, and the person is told to resume it
INTERRUPTED: Final = "ArtifactInstall_Enter"  # by hand: nobody was told that it is installed, so it is taken back
BEFORE: Final = (*FETCHED_ANEW, STORING)  # nothing was installed
ROLLED_BACK: Final = "rolled-back"  # an outcome: all is as it was before, or never was another
KEPT: Final = ("update-after-commit", "update-after-first-commit", "cleanup", "update-status-report")


Ends = Literal["old", "new", "inconsistent"]


@dataclass(frozen=True)
class Forecast:
    """`starts` is a known image, None: nothing that is known.  `ends`: with the old one or the new one, or with a
    device that says it has neither for certain."""

    starts: str | None
    ends: Ends | None


def forecast(state: DeviceState, about: About) -> Forecast:
    """What should become of a device in this state.

    An update that was not flipped to yet ends as the story does without a cut; one that was ends in whatever starts.
    """
    return Forecast(state.boots, _application(state, about) if about.replaced else _system(state, about))


def _system(state: DeviceState, about: About) -> Ends | None:
    if about.ends == "old":
        return "old"
    update = state.store.state if state.store else None
    if update == INTERRUPTED and state.boots is not None:
        return "old"
    untouched = update in FETCHED_ANEW or (state.store is not None and update == STORING and state.store.known)
    goes_on = untouched and state.told not in ENDED and not about.by_hand
    if goes_on or state.boots == about.new or update == RESUMED:
        return "new"
    return "old" if state.boots == about.old else None


def _application(state: DeviceState, about: About) -> Ends:
    """A payload for a module is not fetched anew: what was begun and not committed is taken back, if its module can."""
    stored = state.store
    if about.ends == "old" or stored is None:
        return "old"
    if stored.state in FETCHED_ANEW:
        return "old" if state.told in SAYS_OLD else "new"
    if stored.state in KEPT and not stored.outcome:
        return "new"
    has_way_back = about.replaced is None or about.replaced.rolls_back
    untouched = stored.state in BEFORE or stored.outcome == ROLLED_BACK
    return "old" if has_way_back or untouched else "inconsistent"
