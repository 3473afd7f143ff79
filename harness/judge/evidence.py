# SPDX-License-Identifier: Apache-2.0
"""Everything a verdict is taken from, as values.

Owns their shape and what can be said of each alone.  Refuses to fetch anything: others read media, console and server.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from harness.judge.bootenv import Environment, Slot

SAYS_NEW = ("success", "already-installed")
SAYS_OLD = ("failure", "aborted")


@dataclass(frozen=True)
class ServerRecord:
    """What the server was told about the current deployment: the last status (None: never any) and all in order.

    `finished` is when the server closed it for this device (ISO 8601), None as long as it has not.
    """

    status: str | None
    history: tuple[str, ...] = ()
    finished: str | None = None

    @property
    def final(self) -> bool:
        return self.status in SAYS_NEW + SAYS_OLD

    @property
    def commit_reported(self) -> bool:
        """Whether the device reported `installing` again after `rebooting`: it runs NEW and is about to commit."""
        if self.status in SAYS_NEW:
            return True
        after = self.history[self.history.index("rebooting") :] if "rebooting" in self.history else ()
        return "installing" in after


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
