# SPDX-License-Identifier: Apache-2.0
"""What the updater must still know after the power has failed: what is installed, and how far an update has come.

A client that comes with an update must leave its predecessor able to go on after a rollback.  So, if what is stored
is in an older format and an update is under way, the newer record stands beside it until the update is kept.
"""

from __future__ import annotations

import errno
import fcntl
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from updater.errors import StoreBusy, StoreError
from updater.recordfile import RecordFile

FORMAT = 2
UNKNOWN_ARTIFACT = "unknown"


@dataclass(frozen=True)
class Update:
    """One update under way.  `state` is the name of the step that was begun last (Mender's names)."""

    state: str
    deployment: str = ""  # empty: standalone
    artifact_name: str = ""
    artifact_group: str = ""
    payload_type: str = ""  # empty until the artifact's header has been read, and if it has no payload
    provides: Mapping[str, str] = field(default_factory=dict)  # of the device, once this update is kept
    origin: str = ""  # slot that runs when the update begins
    target: str = ""  # slot that is written
    reboot: str = ""  # what the payload says of reboots, once it has been asked: no, custom or automatic
    rollback: str = ""  # whether the payload can be rolled back, once it has been asked: yes or no
    uri: str = ""  # where the artifact is
    progress: Mapping[str, Any] = field(default_factory=dict)  # how much of the payload is durable, and how to go on
    outcome: str = ""  # see machine.steps.Outcome
    stopped: bool = False  # on purpose, for a person to go on; not by a loss of power
    stores: int = 0  # how often this record has been written: bounds reboot loops


@dataclass(frozen=True)
class Device:
    """Everything that is stored: `provides` of what is installed (with `artifact_name`), and the update under way."""

    provides: Mapping[str, str] = field(default_factory=lambda: {"artifact_name": UNKNOWN_ARTIFACT})
    update: Update | None = None
    update_control_map: Mapping[str, Any] = field(default_factory=dict)  # only older clients leave one
    untold: Mapping[str, str] = field(default_factory=dict)  # deployments that ended, and the server has not heard how
    slot: str = ""  # the one whose system is kept, once that is known
    returns: int = 0  # how often it was tried to get back to it
    incidents: Mapping[str, int] = field(default_factory=dict)  # what had to be mended, and how often
    failures: Mapping[str, int] = field(default_factory=dict)  # artifacts that failed since the last one was kept

    @property
    def artifact_name(self) -> str:
        return self.provides.get("artifact_name", UNKNOWN_ARTIFACT)


class Store:
    """What is stored in the data directory, by one writer at a time."""

    def __init__(self, directory: Path) -> None:
        self.file = RecordFile(directory / "bootproof-store")
        self.uncommitted = RecordFile(directory / "bootproof-store-uncommitted")
        self.first_format = directory / "bootproof-store.json"  # the first clients replaced a file of this name
        self._older = False  # what is stored is an older client's, which may be needed again

    def exists(self) -> bool:
        """Whether anything has ever been stored on this device."""
        return self.file.path.exists() or self.first_format.exists()

    @contextmanager
    def writing(self) -> Iterator[None]:
        """Be the one that installs; a second one is refused at once.

        Raises:
            StoreBusy: another process is installing.
        """
        try:
            self.file.path.parent.mkdir(parents=True, exist_ok=True)
            fd = self._lock()
        except OSError as error:
            raise StoreError(f"{self.file.path.parent} cannot be written: {error.strerror}.") from error
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(fd)
            raise StoreBusy("Another update is being installed at this moment; wait until it is done.") from error
        try:
            yield
        finally:
            os.close(fd)

    def _lock(self) -> int:
        directory = self.file.path.parent
        try:
            return os.open(self.file.path.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            if error.errno != errno.EROFS:
                raise
            return os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)  # what fails then is the saving

    def load(self) -> Device:
        """What is stored; an empty record on a new device.

        Raises:
            StoreError: it is there but is not what this program wrote.
        """
        raw = _decoded(self.file.read(), self.file.path)
        self._older = False
        if raw is not None and raw.get("format") == FORMAT:
            return _parse(raw, self.file.path)
        if raw is None:
            raw = _decoded(_read(self.first_format), self.first_format)
        if raw is None:
            return Device()
        newer = _decoded(self.uncommitted.read(), self.uncommitted.path)
        following = _parse(newer, self.uncommitted.path) if newer and newer.get("format") == FORMAT else None
        if raw.get("format") == 1:
            device = _parse(_from_format_1(raw), self.first_format)
            self._older = device.update is not None
            return following if following and _follows(following.update, device.update) else device
        if following is None:
            raise StoreError(f"{self.file.path} was written by another version of this program.")
        self._older = True
        return following

    def save(self, device: Device, *, kept: bool = False) -> Device:
        """Make `device` durable; returns it.  `kept`: the client before this one will not be needed again.

        Raises:
            StoreError: it cannot be stored; the old content is still there.
        """
        beside = self._older and device.update is not None and not kept
        file = self.uncommitted if beside else self.file
        file.write(json.dumps({"format": FORMAT, **asdict(device)}).encode())
        if not beside and (self._older or self.first_format.exists()):
            self._older = False
            self.first_format.unlink(missing_ok=True)
            self.uncommitted.remove()
        return device


def _follows(later: Update | None, earlier: Update | None) -> bool:
    """Whether the newer client's record belongs to the update that the older one began."""
    if later is None or earlier is None:
        return False
    return (later.deployment, later.target) == (earlier.deployment, earlier.target) and later.stores >= earlier.stores


def _read(path: Path) -> bytes | None:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return None
    except OSError as error:
        raise StoreError(f"{path} cannot be read: {error.strerror}.") from error


def _decoded(record: bytes | None, path: Path) -> dict[str, Any] | None:
    if record is None:
        return None
    try:
        raw = json.loads(record)
    except ValueError as error:
        raise StoreError(f"{path} is damaged: {error}.") from error
    if not isinstance(raw, dict):
        raise StoreError(f"{path} is damaged: it holds no JSON object.")
    return raw


def _parse(raw: Mapping[str, Any], path: Path) -> Device:
    try:
        values = _known(Device, raw)
        values["provides"] = dict(values["provides"])
        values["update"] = Update(**_known(Update, values["update"])) if values.get("update") else None
        return Device(**values)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise StoreError(f"{path} is damaged: {error!r}.") from error


def _known(kind: type[Device] | type[Update], raw: Mapping[str, Any]) -> dict[str, Any]:
    """What a later client of the same format has added is left out."""
    names = {one.name for one in fields(kind)}
    return {name: value for name, value in raw.items() if name in names}


def _from_format_1(raw: Mapping[str, Any]) -> dict[str, Any]:
    """The first clients knew only root file systems, and stored the final status as the outcome."""
    update = raw.get("update")
    if isinstance(update, dict):
        update = dict(update)
        states = {"verify-install": "update-install", "verify-commit": "update-commit"}
        update["state"] = states.get(str(update.get("state")), update.get("state"))
        update["payload_type"] = "rootfs-image"
        update["reboot"], update["rollback"] = "automatic", "yes"
        update["outcome"] = "rolled-back" if update.get("outcome") == "failure" else ""
    return {"provides": raw.get("provides"), "update": update}
