# SPDX-License-Identifier: Apache-2.0
"""The configuration in Mender's JSON: `/etc/mender/mender.conf` over `/var/lib/mender/mender.conf`."""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from updater.errors import ConfigError

CONFIG_FILE = Path("/etc/mender/mender.conf")
DATA_DIRECTORY = Path("/var/lib/mender")
KNOWN: dict[str, type] = {
    "ServerURL": str,
    "ServerCertificate": str,
    "TenantToken": str,
    "UpdatePollIntervalSeconds": int,
    "InventoryPollIntervalSeconds": int,
    "RetryPollIntervalSeconds": int,
    "RetryPollCount": int,
    "RetryDownloadCount": int,
    "ArtifactVerifyKey": str,
    "ArtifactVerifyKeys": list,
    "RootfsPartA": str,
    "RootfsPartB": str,
    "DeviceTypeFile": str,
}
MAY_BE_ZERO = ("RetryPollCount",)
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """What was configured; all times in seconds."""

    server_url: str = ""
    server_certificate: Path | None = None
    tenant_token: str = ""
    update_poll: float = 1800
    inventory_poll: float = 28800
    retry_poll: float = 300
    retry_count: int = 0
    download_tries: int = 10
    verify_keys: tuple[Path, ...] = ()
    slots: Mapping[str, Path] = field(default_factory=dict)
    device_type_file: Path = DATA_DIRECTORY / "device_type"
    data_directory: Path = DATA_DIRECTORY


def load(config_file: Path = CONFIG_FILE, data_directory: Path = DATA_DIRECTORY) -> Config:
    """Read both files, the first over the second; either may be absent.

    Raises:
        ConfigError: a file is not JSON, or a value is of the wrong type.
    """
    merged = {**_read(data_directory / "mender.conf"), **_read(config_file)}
    if "ArtifactVerifyKey" in merged and "ArtifactVerifyKeys" in merged:
        raise ConfigError("Both ArtifactVerifyKey and ArtifactVerifyKeys are set; keep one of them.")
    keys = merged.get("ArtifactVerifyKeys") or filter(None, [merged.get("ArtifactVerifyKey")])
    parts = {"a": merged.get("RootfsPartA"), "b": merged.get("RootfsPartB")}
    certificate = merged.get("ServerCertificate")
    return Config(
        server_url=merged.get("ServerURL", ""),
        server_certificate=Path(certificate) if certificate else None,
        tenant_token=merged.get("TenantToken", ""),
        update_poll=merged.get("UpdatePollIntervalSeconds", Config.update_poll),
        inventory_poll=merged.get("InventoryPollIntervalSeconds", Config.inventory_poll),
        retry_poll=merged.get("RetryPollIntervalSeconds", Config.retry_poll),
        retry_count=merged.get("RetryPollCount", Config.retry_count),
        download_tries=merged.get("RetryDownloadCount", Config.download_tries),
        verify_keys=tuple(Path(key) for key in keys),
        slots={slot: Path(part) for slot, part in parts.items() if part},
        device_type_file=Path(merged.get("DeviceTypeFile", data_directory / "device_type")),
        data_directory=data_directory,
    )


def device_type(config: Config) -> str:
    """The device's type.

    Raises:
        ConfigError: the file is missing or is not one line `device_type=...`.
    """
    try:
        lines = config.device_type_file.read_text().split("\n")
    except (OSError, ValueError) as error:
        raise ConfigError(f"{config.device_type_file} cannot be read: {error}.") from error
    name, equals, value = lines[0].partition("=")
    if name != "device_type" or not equals or not value or any(lines[1:]):
        raise ConfigError(f"{config.device_type_file} must hold one line, device_type=<type>.")
    return value


def _read(path: Path) -> dict[str, Any]:
    try:
        values = json.loads(path.read_text())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold one JSON object.")
    for name, value in values.items():
        if name not in KNOWN:
            log.warning("%s: the key %s is not known and has no effect", path, name)
        elif type(value) is not KNOWN[name]:
            raise ConfigError(f"{path}: {name} must be {_kind(KNOWN[name])}, not {json.dumps(value)}.")
        elif not _sensible(name, value):
            raise ConfigError(f"{path}: {name} cannot be {json.dumps(value)}.")
    return {name: value for name, value in values.items() if name in KNOWN}


def _sensible(name: str, value: Any) -> bool:
    if isinstance(value, int):
        return value > 0 or (value == 0 and name in MAY_BE_ZERO)
    return not isinstance(value, list) or all(isinstance(item, str) for item in value)


def _kind(kind: type) -> str:
    return {str: "a string", int: "a whole number", list: "a list"}[kind]
