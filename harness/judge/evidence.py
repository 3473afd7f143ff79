# SPDX-License-Identifier: Apache-2.0
"""Everything a verdict is taken from, as values.

Owns their shape and what can be said of each alone.  Refuses to fetch anything: others read media, console and server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from harness.judge.bootenv import Environment, Slot

SAYS_NEW = ("success", "already-installed")
SAYS_OLD = ("failure", "aborted")
INCONSISTENT = "_INCONSISTENT"  # behind an artifact's name; Mender's


def inconsistent(name: str) -> str:
    """What a device calls itself if it runs that artifact and not all went well with it."""
    return name.removesuffix(INCONSISTENT) + INCONSISTENT


@dataclass(frozen=True)
class ServerRecord:
    """What the server was told about the current deployment: the last status (None: never any) and all in order.

    `finished` is when the server closed it for this device (ISO 8601), None as long as it has not; `artifact_name` is
    what the device last said that it runs, None if that is not known.
    """

    status: str | None
    history: tuple[str, ...] = ()
    finished: str | None = None
    artifact_name: str | None = None

    @property
    def final(self) -> bool:
        return self.status in SAYS_NEW + SAYS_OLD

    @property
    def commit_reported(self) -> bool:
        """Whether the device reported `installing` a second time: it runs NEW and is about to commit.

        Usually `rebooting` stands between the two; not if the power failed after the flip, which is as good as that.
        """
        begun = [step for step in self.history if step in ("downloading", "installing")]
        return self.status in SAYS_NEW or begun[-2:] == ["installing", "installing"]


@dataclass(frozen=True, kw_only=True)
class Evidence:
    """A board at one moment, from outside."""

    environment: Environment
    defaults: Mapping[str, str]  # compiled into U-Boot
    slots: Mapping[Slot, str | None]  # the known image in each slot
    partition_complaints: Sequence[str]
    data_complaints: Sequence[str]
    alarms: Sequence[str]  # of the console, without the expected ones
    server: ServerRecord | None  # None: the board has no server to report to
    running: Slot | None  # what was seen to boot last
    faults_fired: bool
    settled: bool
    old: str  # names of known images
    new: str
    has_flushes: bool
    artifact_names: Mapping[str, str] = field(default_factory=dict)  # of known images, where they are not their own
    stored_name: str | None = None  # what the device calls itself, as our updater has stored it; None: not looked at

    @property
    def doubts(self) -> tuple[str, ...]:
        """Why nothing found wrong would not yet mean that all is well."""
        return tuple(
            says
            for sure, says in (
                (self.faults_fired, "The fault did not fire."),
                (self.has_flushes, "The write log holds no flush, so nothing is known to have been durable."),
            )
            if not sure
        )
