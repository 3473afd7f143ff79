# SPDX-License-Identifier: Apache-2.0
"""The configuration in Mender's JSON: `/etc/mender/mender.conf` over `/var/lib/mender/mender.conf`.

`configkeys.py` says what each key may hold; nested keys are named by their place (`HttpsClient.Key`).  What Mender's
client does not know lives in one object, `Bootproof`, so that Mender reads the same file without harm.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from updater.configkeys import KEYS, NO_EFFECT, SECTIONS, SPELLINGS, checked, show
from updater.errors import ConfigError

CONF_DIRECTORY = Path("/etc/mender")
CONFIG_FILE = CONF_DIRECTORY / "mender.conf"
DATA_DIRECTORY = Path("/var/lib/mender")
SHARE_DIRECTORY = Path("/usr/share/mender")
# The names of the environment are Mender's; its "data directory" is the one with modules and scripts.
CONF_VARIABLE, DATA_VARIABLE, SHARE_VARIABLE = "MENDER_CONF_DIR", "MENDER_DATASTORE_DIR", "MENDER_DATA_DIR"
SHORTEST_PAUSE = 60  # seconds between two tries, if those are not to be shorter anyway
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Config:
    """What was configured; all times in seconds."""

    servers: tuple[str, ...] = ()  # in the order in which they are tried
    server_certificate: Path | None = None
    skip_verify: bool = False
    client_certificate: Path | None = None
    client_key: Path | None = None
    auth_key: Path | None = None
    tenant_token: str = ""
    update_poll: float = 1800
    inventory_poll: float = 28800
    retry_poll: float = 300
    retry_count: int = 0
    download_tries: int = 10
    script_timeout: float = 3600
    script_retry_interval: float = 60
    script_retry_timeout: float = 1800
    module_timeout: float = 14400
    verify_keys: tuple[Path, ...] = ()
    slots: Mapping[str, Path] = field(default_factory=dict)
    device_type_file: Path = DATA_DIRECTORY / "device_type"
    log_directory: Path = DATA_DIRECTORY
    log_level: str = "info"  # debug, info, warning, error or critical
    boot_limit: int = 1  # starts that the new system is given before it must be kept
    park_after: int = 3
    download_stall: float = 30  # without a byte, after which a connection is given up
    longest_silence: float = 0  # within which the server is asked again after any fault of the network; 0: derived
    skip_unchanged: bool = False
    resume_downloads: bool = True
    data_directory: Path = DATA_DIRECTORY
    conf_directory: Path = CONF_DIRECTORY  # holds scripts/ and artifact_info
    share_directory: Path = SHARE_DIRECTORY  # holds modules/v3, identity, inventory

    def __post_init__(self) -> None:
        if not self.longest_silence:
            # The longest pause, and then a round through all servers and a call, each as slow as is borne.
            calls = (len(self.servers) + 1) * self.exchange_limit
            object.__setattr__(self, "longest_silence", max(self.update_poll, self.retry_poll) + calls)

    @property
    def server_url(self) -> str:
        """The server that is tried first; empty if there is none."""
        return self.servers[0] if self.servers else ""

    @property
    def longest_pause(self) -> float:
        """What may be waited between two tries, so that a server which can be reached is asked in time."""
        return self.longest_silence - (len(self.servers) + 1) * self.exchange_limit

    @property
    def longest_retry(self) -> float:
        """The longest pause between two tries of the same thing."""
        return min(self.retry_poll, self.longest_pause)

    @property
    def exchange_limit(self) -> float:
        """The most that one small exchange with a server may take in all."""
        return 4 * self.download_stall


def load(
    config_file: Path | None = None,
    data_directory: Path | None = None,
    environment: Mapping[str, str] = os.environ,
    *,
    fallback_file: Path | None = None,
) -> Config:
    """Read both files, the first over the second; only one that is given by name must be there.

    What is not given, the environment says.

    Raises:
        ConfigError: a file is not JSON, a value is not what its key may hold, or keys contradict each other.
    """
    # Modules work elsewhere, so every place must mean the same there.
    conf = Path(environment.get(CONF_VARIABLE) or CONF_DIRECTORY).absolute()
    data = (data_directory or Path(environment.get(DATA_VARIABLE) or DATA_DIRECTORY)).absolute()
    first, second = config_file or conf / "mender.conf", fallback_file or data / "mender.conf"
    merged = {**_read(second, needed=bool(fallback_file)), **_read(first, needed=bool(config_file))}
    _agree(merged)
    fields: dict[str, Any] = {"device_type_file": data / "device_type", "log_directory": data}
    # An empty string is as good as no value.
    given = {name: key for name, key in KEYS.items() if key.field and merged.get(name, "") != ""}
    fields |= {key.field: key.convert(merged[name]) for name, key in given.items()}
    entries = [merged.get("ServerURL", ""), *(entry["ServerURL"] for entry in merged.get("Servers", ()))]
    keys = merged.get("ArtifactVerifyKeys") or filter(None, [merged.get("ArtifactVerifyKey")])
    parts = {"a": merged.get("RootfsPartA"), "b": merged.get("RootfsPartB")}
    config = Config(
        servers=tuple(dict.fromkeys(filter(None, entries))),
        verify_keys=tuple(Path(key) for key in keys),
        slots={slot: Path(part) for slot, part in parts.items() if part},
        data_directory=data,
        conf_directory=conf,
        share_directory=Path(environment.get(SHARE_VARIABLE) or SHARE_DIRECTORY).absolute(),
        **fields,
    )
    if config.longest_pause < (least := min(SHORTEST_PAUSE, config.update_poll, config.retry_poll)):
        needed = config.longest_silence - config.longest_pause + least
        raise ConfigError(
            f"Bootproof.LongestSilenceSeconds is {config.longest_silence:.0f}, and a slow round through all servers "
            f"and a pause take {needed:.0f}: set it to that at least, or Bootproof.DownloadStallSeconds lower."
        )
    return config


def device_type(config: Config) -> str:
    """The device's type.

    Raises:
        ConfigError: the file is missing or is not one line `device_type=...`.
    """
    try:
        lines = config.device_type_file.read_text().split("\n")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(
            f"{config.device_type_file}, which names the device's type, cannot be read: {why}."
        ) from error
    name, equals, value = lines[0].partition("=")
    if name != "device_type" or not equals or not value or any(lines[1:]):
        raise ConfigError(f"{config.device_type_file} must hold one line, device_type=<type>.")
    return value


def _agree(merged: Mapping[str, Any]) -> None:
    """Raises ConfigError where keys do that are good one by one."""
    if "ArtifactVerifyKey" in merged and "ArtifactVerifyKeys" in merged:
        raise ConfigError("Both ArtifactVerifyKey and ArtifactVerifyKeys are set; keep one of them.")
    pair = ("HttpsClient.Certificate", "HttpsClient.Key")
    missing = [name for name in pair if not merged.get(name)]
    if len(missing) == 1:
        raise ConfigError(f"HttpsClient needs Certificate and Key together; {missing[0]} is not set.")
    if merged.get("RootfsPartA") and merged.get("RootfsPartA") == merged.get("RootfsPartB"):
        raise ConfigError("RootfsPartA and RootfsPartB are the same, so there is no slot to install into.")


def _read(path: Path, *, needed: bool = False) -> dict[str, Any]:
    """What a file holds, by place; only keys that have an effect."""
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        if needed:
            raise ConfigError(f"{path} was given as the configuration, and there is no such file.") from None
        return {}
    except (OSError, ValueError, RecursionError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        raise ConfigError(f"{path} cannot be read as JSON: {why}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold one JSON object.")
    found = dict(_places(values, path))
    if idle := sorted(NO_EFFECT & found.keys()):
        log.info("%s: %s: no effect here", path, ", ".join(idle))
    for name in found.keys() - KEYS.keys() - NO_EFFECT:
        log.warning("%s: the key %s is not known and has no effect", path, name)
    return {name: checked(path, name, value) for name, value in found.items() if name in KEYS}


def _places(values: Mapping[str, Any], path: Path, section: str = "") -> Iterator[tuple[str, Any]]:
    for said, value in values.items():
        name = SPELLINGS.get((section + said).lower(), said).removeprefix(section)  # in any letters, as in Mender 3.4
        if section or name not in SECTIONS:
            yield section + name, value
        elif isinstance(value, dict):
            yield from _places(value, path, f"{name}.")
        else:
            raise ConfigError(f"{path}: {name} must be an object, not {show(value)}.")
