# SPDX-License-Identifier: Apache-2.0
"""What can go wrong on the device, by what it means for an update under way."""

from __future__ import annotations

from pathlib import Path


class UpdaterError(Exception):
    """A step failed; the message is one sentence."""


class ConfigError(UpdaterError):
    """The configuration is wrong; names the file, the key and what was expected."""


class InstallRefused(UpdaterError):
    """The artifact is not for this device, or not now; nothing has been written."""


class BootEnvError(UpdaterError):
    """The bootloader's environment cannot be read or written, or must not be."""


class BootEnvLost(BootEnvError):
    """The bootloader's environment is not one that the bootloader has saved: never initialised, or both copies gone."""


class ServerError(UpdaterError):
    """The server could not be reached, or did not answer as it should.

    Args:
        message: one sentence.
        status: the HTTP status, if there was an answer.
        retry_after: seconds that the server asked to wait, if it did.
    """

    def __init__(self, message: str, status: int | None = None, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.retry_after = retry_after


class BadAddress(ServerError):
    """There can be no server at such an address."""


class DeploymentAborted(UpdaterError):
    """The server has taken the deployment back."""


class StoreError(UpdaterError):
    """What must be remembered cannot be read or written."""


class StoreDamaged(StoreError):
    """Nothing of what was remembered can be read any more; `path` says where."""

    def __init__(self, message: str, path: Path) -> None:
        super().__init__(message)
        self.path = path


class StoreBusy(UpdaterError):
    """Another process of this device is installing."""
