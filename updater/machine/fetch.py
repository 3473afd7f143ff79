# SPDX-License-Identifier: Apache-2.0
"""The first part of an update's work: the artifact is opened, judged, and streamed to where it is installed."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from updater.errors import InstallRefused, ServerError, StoreError, UpdaterError
from updater.install.installer import Installer
from updater.machine.steps import Event
from updater.machine.world import Done, World, update_of
from updater.source import Source, Stream
from updater.store import Device

if TYPE_CHECKING:  # most starts of a device install nothing
    from updater.artifact import Artifact

PROVIDES_LIMIT = 32 * 1024  # bytes in the record, which holds them twice during an update
log = logging.getLogger(__name__)


class Fetch:
    """`source` is where the artifact comes from, if it is yet to be fetched."""

    def __init__(self, world: World, source: Source | None = None) -> None:
        self.world, self.source = world, source
        self._installer: Installer | None = None
        self.unreachable = False  # nothing was fetched that could be at fault
        self._streams: list[Stream] = []
        self._artifact: Artifact | None = None

    def read_header(self, device: Device) -> Done:
        """Open the artifact, see that it may be installed here, and keep its scripts."""
        from updater.artifact import ArtifactError, apply_provides

        try:
            artifact = self._open(device)
            update = replace(
                update_of(device),
                artifact_name=artifact.name,
                artifact_group=artifact.group or "",
                provides=apply_provides(device.provides, artifact),
            )
            if len(json.dumps(update.provides)) > PROVIDES_LIMIT:
                raise InstallRefused("The artifact provides more than this device can remember.")
            if artifact.payload_type is None:
                for _ in artifact.files():  # there are none, and it must end there
                    pass
                self.close()
                return replace(device, update=update), Event.NOTHING
            device = replace(device, update=replace(update, payload_type=artifact.payload_type))
            self._installer = self.world.make_installer(device)
            device = replace(device, update=self._installer.planned(update_of(device), artifact))
            self.world.scripts.store(artifact.scripts)
        except (UpdaterError, ArtifactError, OSError, MemoryError) as error:
            log.error("the artifact is refused: %s", _said(error))
            self.unreachable = isinstance(error, ServerError) or not self._streams
            self.close()
            # Nothing has been begun with a payload, so nothing is to be cleaned up.
            return replace(device, update=replace(update_of(device), payload_type="")), Event.FAILED
        self._artifact = artifact
        return device, Event.DONE

    def _open(self, device: Device) -> Artifact:
        # Loaded here, because every start of the device would pay for it.
        from updater.install.intake import open_artifact, verify_keys

        assert self.source is not None
        self.world.marks.put("download.begin")
        keys = verify_keys(self.world.verify_keys)
        self.world.scripts.remove()
        self._streams.append(self.source.open())
        artifact = open_artifact(self._streams[0], keys, device, self.world.device_type)
        if self.source.name and artifact.name != self.source.name:
            raise InstallRefused(f"The server announced '{self.source.name}' and sent '{artifact.name}'.")
        return artifact

    def download(self, device: Device) -> Done:
        """Stream the payload to where it is installed; the installed system is not touched."""
        from updater.artifact import ArtifactError

        assert self._artifact is not None
        try:
            progress = _Progress(self, device) if self.world.store else None
            self._installed_by(device).download(self._artifact, self.world.dialect.asks_for_sizes, progress)
        except (UpdaterError, ArtifactError, OSError, MemoryError) as error:  # the medium too may fail
            log.error("the download failed: %s", _said(error))
            self.unreachable = isinstance(error, ServerError)
            return device, Event.FAILED
        finally:
            self.close()
        return replace(device, update=replace(update_of(device), progress={})), Event.DONE

    def reopen(self, place: int) -> Stream:
        """The artifact anew, from byte `place` on."""
        from updater.artifact import ArtifactError

        assert self.source is not None
        size = getattr(self._streams[0], "size", None)
        if size is None or place >= size:
            raise ArtifactError(f"the artifact of {size} bytes cannot be gone on with at byte {place}")
        self._streams.append(self.source.open(place, size))
        return self._streams[-1]

    def close(self) -> None:
        """Give the connections back."""
        while self._streams:
            self._streams.pop().close()

    def _installed_by(self, device: Device) -> Installer:
        if self._installer is None:
            self._installer = self.world.make_installer(device)
        return self._installer


def _said(error: Exception) -> str:
    return "This device has not enough memory to unpack it." if isinstance(error, MemoryError) else str(error)


@dataclass
class _Progress:
    """How far a download has come, in the record of its update; each time it gets further it starts counting anew."""

    fetch: Fetch
    device: Device

    @property
    def saved(self) -> Mapping[str, Any] | None:
        return update_of(self.device).progress or None

    def save(self, point: Mapping[str, Any], /) -> None:
        update = replace(update_of(self.device), progress=dict(point), stores=0)
        try:
            assert self.fetch.world.store is not None
            self.fetch.world.store.save(replace(self.device, update=update))
        except StoreError as error:
            log.warning("the progress of the download is not kept: %s", error)

    def reopen(self, place: int, /) -> Stream:
        return self.fetch.reopen(place)
