# SPDX-License-Identifier: Apache-2.0
"""Which updates can be recorded: what comes before the recording begins, and how it ends when nothing is cut."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from harness.errors import UsageError
from harness.faults.power import writes
from harness.judge.verdict import Expectation
from harness.lab import Lab


@dataclass(frozen=True)
class Story:
    """`begin` has an update to `version` ordered, and leaves the board held or switched off until it is followed."""

    name: str
    says: str
    version: str
    begin: Callable[[Lab, str], None]
    ends: Expectation


def _deployed(lab: Lab, version: str) -> None:
    lab.join()
    lab.hold()
    lab.deploy(version)


def _cut_in_the_download(lab: Lab, version: str) -> None:
    lab.join()
    lab.deploy(version)
    lab.cut_power(writes(lab.random.randint(20, 70), to="passive", after="slot.write"), lose="some")


STORIES = {
    story.name: story
    for story in (
        Story("managed", "a deployment that succeeds", "b", _deployed, "new"),
        Story(
            "rollback",
            "a deployment whose system does not come up, so that the old one is back",
            "no-network",
            _deployed,
            "old",
        ),
        Story("resumed", "a deployment whose download was cut, and goes on", "b", _cut_in_the_download, "new"),
    )
}


def story(name: str) -> Story:
    """The story of that name.

    Raises:
        UsageError: there is none.
    """
    try:
        return STORIES[name]
    except KeyError:
        raise UsageError(f"There is no update '{name}' to explore.", f"There are {', '.join(STORIES)}.") from None
