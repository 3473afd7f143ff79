# SPDX-License-Identifier: Apache-2.0
"""What installs a payload: a root file system writer built in here, or an update module, a program of its own.

Both speak the states of Mender's update module protocol, version 3.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Protocol

from updater.store import Update

if TYPE_CHECKING:  # most starts of a device install nothing
    from updater.artifact import Artifact, ByteSource


class Reboot(StrEnum):
    """What a payload needs to take effect; the value is what is stored."""

    NO = "no"
    CUSTOM = "custom"  # the module brings it about itself
    AUTOMATIC = "automatic"  # the whole system


class Progress(Protocol):
    """What outlives this life of the device, and the way back into the artifact.

    `saved` is what `save` was given last, in this update's earlier life, or None.  What was opened is closed by who
    opened it.

    Raises (from `reopen` and from reading):
        UpdaterError: the artifact is not to be had; `saved` is as good as before.
    """

    @property
    def saved(self) -> Mapping[str, Any] | None: ...

    def save(self, point: Mapping[str, Any], /) -> None:
        """Store `point`, a small JSON object, so that it survives whatever happens next."""

    def reopen(self, place: int, /) -> ByteSource:
        """The artifact from byte `place` on."""


class Installer(Protocol):
    """One payload of one update.  `restarts_allowed`: an unexpected start on trial need not cost the update;
    `goes_on`: nor does one in the download.

    Raises (from every method but the last four):
        UpdaterError: it failed; the message is one sentence.
    """

    restarts_allowed: bool
    goes_on: bool

    def planned(self, update: Update, artifact: Artifact, /) -> Update:
        """What must be known after a power cut, before the first byte is written."""

    def download(self, artifact: Artifact, asks_for_sizes: bool, progress: Progress | None, /) -> None:
        """Take the payload's files as they come; with `progress`, what can be gone on from later may be saved."""

    def call(self, state: str) -> None:
        """Do one state of the protocol: ArtifactInstall, ArtifactCommit, ..."""

    def reboot(self) -> Reboot:
        """What it needs to take effect; asked after it is installed."""

    def can_roll_back(self) -> bool: ...

    def rollback_needs_reboot(self, asked: Reboot, /) -> bool:
        """Whether a rollback takes effect only with a reboot; `asked` is what was answered before."""

    def on_trial(self) -> bool:
        """Whether the new software already runs and is not kept yet; only asked after an unexpected start."""

    def kept(self) -> bool:
        """Whether the commit was made; only asked if that is in doubt."""

    def restored(self) -> bool:
        """Whether it is certain, against all reports, that the device is as it was before."""

    def abandon(self) -> None:
        """An update is given up in the middle: make what can be made safe without asking anybody."""
