# SPDX-License-Identifier: Apache-2.0
"""The first start of a device: what is it that the factory has installed?"""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path

from updater.errors import StoreDamaged, UpdaterError
from updater.store import Device, Store

FILE = "bootstrap.mender"  # below the data directory; removed once it is known
LOST = "store_lost"  # an incident
log = logging.getLogger(__name__)


def bootstrap(
    store: Store, data_directory: Path, conf_directory: Path, *, force: bool = False, strict: bool = False
) -> None:
    """Take what is installed from the bootstrap artifact, or else from `artifact_info`, unless it is known already.

    Raises:
        UpdaterError: it cannot be stored; or, if `strict`, there is a bootstrap artifact that is not good.
    """
    if store.exists() and not force:
        return
    with store.writing():
        device = store.load()
        if device.update is not None:
            log.warning("an update is under way, so what is installed is not found out anew")
            return
        file = data_directory / FILE
        provides = {}
        try:
            if file.exists():
                provides = _from_artifact(file)
        except UpdaterError as error:
            if strict:
                raise
            log.error("%s", error)
        good = bool(provides)
        provides = provides or _from_info(conf_directory / "artifact_info")
        store.save(replace(device, provides=provides if provides.get("artifact_name") else Device().provides))
        if good:
            file.unlink()


def recover(store: Store) -> bool:
    """A record of which nothing can be read any more is set aside: a device must ask for updates all the same.

    If it is the one of an update on trial, the record of the client before it is good, and says how to go on.

    Returns:
        Whether it is to be found out anew what is installed.

    Raises:
        UpdaterError: it is of another version, or cannot be set aside.
    """
    try:
        store.load()
        return False
    except StoreDamaged:
        with store.writing():
            return _set_aside(store)


def _set_aside(store: Store) -> bool:
    try:
        store.load()  # somebody may have done it in the meantime
        return False
    except StoreDamaged as error:
        log.error("%s  It is set aside.", error)
        device, forgotten = Device(), error.path != store.uncommitted.path
        if forgotten:
            store.file.set_aside()
        else:
            store.uncommitted.set_aside()
            store.uncommitted.remove()
            device = store.load()
        store.save(replace(device, incidents={**device.incidents, LOST: device.incidents.get(LOST, 0) + 1}))
        return forgotten


def _from_artifact(file: Path) -> dict[str, str]:
    from updater.artifact import ArtifactError, apply_provides, read_artifact

    try:
        with file.open("rb") as stream:
            artifact = read_artifact(stream)  # it came with the image, so it needs no signature
            if artifact.payload_type is not None:
                raise UpdaterError(f"{file} holds a payload, so it is no bootstrap artifact.")
            for _ in artifact.files():
                pass
            return apply_provides({}, artifact)
    except (OSError, ArtifactError) as error:
        raise UpdaterError(f"The bootstrap artifact {file} cannot be used: {error}.") from error


def _from_info(file: Path) -> dict[str, str]:
    try:
        lines = file.read_text().splitlines()
    except (OSError, ValueError):
        return {}
    return dict(line.split("=", 1) for line in lines if line.startswith(("artifact_name=", "artifact_group=")))
