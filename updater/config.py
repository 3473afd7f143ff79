# SPDX-License-Identifier: Apache-2.0
"""The configuration in Mender's JSON: `/etc/mender/mender.conf` over `/var/lib/mender/mender.conf`.

A table says what each key may hold; nested keys are named by their place (`HttpsClient.Key`).  What Mender's client
does not know lives in one object, `Bootproof`, so that Mender reads the same file without harm.
"""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from updater.errors import ConfigError

CONF_DIRECTORY = Path("/etc/mender")
CONFIG_FILE = CONF_DIRECTORY / "mender.conf"
DATA_DIRECTORY = Path("/var/lib/mender")
SHARE_DIRECTORY = Path("/usr/share/mender")
# The names of the environment are Mender's; its "data directory" is the one with modules and scripts.
CONF_VARIABLE, DATA_VARIABLE, SHARE_VARIABLE = "MENDER_CONF_DIR", "MENDER_DATASTORE_DIR", "MENDER_DATA_DIR"
MOST = 2**31 - 1  # seconds and counts beyond it are slips of the pen
SHOWN = 80  # characters of a wrong value
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
        return max(1.0, self.longest_silence - (len(self.servers) + 1) * self.exchange_limit)

    @property
    def exchange_limit(self) -> float:
        """The most that one small exchange with a server may take in all."""
        return 4 * self.download_stall


# What is wrong with a value of the right type, to be put behind the key's name; empty if nothing is.
Rule = Callable[[Any], str]


def _between(least: int, most: int = MOST) -> Rule:
    return lambda value: "" if least <= value <= most else f" cannot be {_show(value)}; {least} to {most} can."


def _printable(value: str) -> str:
    return "" if value.isprintable() else f" cannot hold what does not print: {_show(value)}."


def _either(_value: bool) -> str:
    return ""


def _strings(values: list[Any]) -> str:
    wrong = (number for number, value in enumerate(values) if not isinstance(value, str) or not value)
    return next((f"[{number}] must be a path, not {_show(values[number])}." for number in wrong), "")


def _address(value: str) -> str:
    good = not value or (value.startswith(("http://", "https://")) and value.isprintable() and " " not in value)
    return "" if good else f" must begin with http:// or https:// and hold no spaces, not {_show(value)}."


def _servers(values: list[Any]) -> str:
    for number, entry in enumerate(values):
        if not isinstance(entry, dict):
            return f'[{number}] must be an object like {{"ServerURL": "https://..."}}, not {_show(entry)}.'
        url = entry.get("ServerURL")
        if not isinstance(url, str) or not url:
            said = "is missing or empty" if url in (None, "") else f"must be a string, not {_show(url)}"
            return f"[{number}].ServerURL {said}."
        if wrong := _address(url):
            return f"[{number}].ServerURL{wrong}"
    return ""


LEVELS = {"trace": "debug", "debug": "debug", "info": "info", "warning": "warning", "warn": "warning",
          "error": "error", "fatal": "critical", "panic": "critical"}  # fmt: skip


def _level(value: str) -> str:
    return "" if value.lower() in LEVELS else f" must be one of {', '.join(LEVELS)}, not {_show(value)}."


class Key(NamedTuple):
    """What a key may hold, and the field of Config that takes it; without one, `load` puts it in its place."""

    kind: type
    rule: Rule
    field: str = ""
    convert: Callable[[Any], Any] = lambda value: value


SOME, ANY_NUMBER = _between(1), _between(0)
KEYS: dict[str, Key] = {
    "ServerURL": Key(str, _address),
    "Servers": Key(list, _servers),
    "ServerCertificate": Key(str, _printable, "server_certificate", Path),
    "SkipVerify": Key(bool, _either, "skip_verify"),
    "HttpsClient.Certificate": Key(str, _printable, "client_certificate", Path),
    "HttpsClient.Key": Key(str, _printable, "client_key", Path),
    "Security.AuthPrivateKey": Key(str, _printable, "auth_key", Path),
    "TenantToken": Key(str, _printable, "tenant_token"),
    "UpdatePollIntervalSeconds": Key(int, SOME, "update_poll"),
    "InventoryPollIntervalSeconds": Key(int, SOME, "inventory_poll"),
    "RetryPollIntervalSeconds": Key(int, SOME, "retry_poll"),
    "RetryPollCount": Key(int, ANY_NUMBER, "retry_count"),
    "RetryDownloadCount": Key(int, _between(1, 10000), "download_tries"),
    "StateScriptTimeoutSeconds": Key(int, SOME, "script_timeout"),
    "StateScriptRetryIntervalSeconds": Key(int, SOME, "script_retry_interval"),
    "StateScriptRetryTimeoutSeconds": Key(int, ANY_NUMBER, "script_retry_timeout"),
    "ModuleTimeoutSeconds": Key(int, SOME, "module_timeout"),
    "ArtifactVerifyKey": Key(str, _printable),
    "ArtifactVerifyKeys": Key(list, _strings),
    "RootfsPartA": Key(str, _printable),
    "RootfsPartB": Key(str, _printable),
    "DeviceTypeFile": Key(str, _printable, "device_type_file", Path),
    "UpdateLogPath": Key(str, _printable, "log_directory", Path),
    "DaemonLogLevel": Key(str, _level, "log_level", lambda value: LEVELS[value.lower()]),
    "Bootproof.BootLimit": Key(int, SOME, "boot_limit"),
    "Bootproof.ParkAfterFailures": Key(int, SOME, "park_after"),
    "Bootproof.DownloadStallSeconds": Key(int, SOME, "download_stall"),
    "Bootproof.LongestSilenceSeconds": Key(int, SOME, "longest_silence"),
    "Bootproof.SkipUnchangedBlocks": Key(bool, _either, "skip_unchanged"),
    "Bootproof.ResumeDownloads": Key(bool, _either, "resume_downloads"),
}
SECTIONS = {name.partition(".")[0] for name in KEYS if "." in name}
# Mender's clients know these; here there is nothing that they could change.
NO_EFFECT = {
    "BootUtilitiesGetNextActivePart", "BootUtilitiesSetActivePart", "ClientProtocol", "Connectivity", "DBus",
    "DeviceTier", "HttpsClient.SSLEngine", "Security.SSLEngine", "UpdateControlMapBootExpirationTimeSeconds",
    "UpdateControlMapExpirationTimeSeconds",
}  # fmt: skip
SPELLINGS = {name.lower(): name for name in KEYS}
KINDS = {str: "a string", int: "a whole number", list: "a list", bool: "true or false"}


def load(
    config_file: Path | None = None,
    data_directory: Path | None = None,
    environment: Mapping[str, str] = os.environ,
) -> Config:
    """Read both files, the first over the second; either may be absent.  What is not given, the environment says.

    Raises:
        ConfigError: a file is not JSON, a value is not what its key may hold, or keys contradict each other.
    """
    conf = Path(environment.get(CONF_VARIABLE) or CONF_DIRECTORY)
    data = data_directory or Path(environment.get(DATA_VARIABLE) or DATA_DIRECTORY)
    first = config_file or conf / "mender.conf"
    merged = {**_read(data / "mender.conf"), **_read(first)}
    _agree(merged)
    fields: dict[str, Any] = {"device_type_file": data / "device_type", "log_directory": data}
    # An empty string is as good as no value.
    given = {name: key for name, key in KEYS.items() if key.field and merged.get(name, "") != ""}
    fields |= {key.field: key.convert(merged[name]) for name, key in given.items()}
    entries = [merged.get("ServerURL", ""), *(entry["ServerURL"] for entry in merged.get("Servers", ()))]
    keys = merged.get("ArtifactVerifyKeys") or filter(None, [merged.get("ArtifactVerifyKey")])
    parts = {"a": merged.get("RootfsPartA"), "b": merged.get("RootfsPartB")}
    return Config(
        servers=tuple(dict.fromkeys(filter(None, entries))),
        verify_keys=tuple(Path(key) for key in keys),
        slots={slot: Path(part) for slot, part in parts.items() if part},
        data_directory=data,
        conf_directory=conf,
        share_directory=Path(environment.get(SHARE_VARIABLE) or SHARE_DIRECTORY),
        **fields,
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


def _read(path: Path) -> dict[str, Any]:
    """What a file holds, by place; only keys that have an effect."""
    try:
        values = json.loads(path.read_bytes())
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError) as error:
        raise ConfigError(f"{path} cannot be read as JSON: {error}.") from error
    if not isinstance(values, dict):
        raise ConfigError(f"{path} must hold one JSON object.")
    found = dict(_places(values, path))
    if idle := sorted(NO_EFFECT & found.keys()):
        log.info("%s: %s: no effect here", path, ", ".join(idle))
    for name in found.keys() - KEYS.keys() - NO_EFFECT:
        meant = SPELLINGS.get(name.lower())
        hint = f" (it is written {meant})" if meant else ""
        log.warning("%s: the key %s is not known and has no effect%s", path, name, hint)
    return {name: _checked(path, name, value) for name, value in found.items() if name in KEYS}


def _places(values: Mapping[str, Any], path: Path, section: str = "") -> Iterator[tuple[str, Any]]:
    for name, value in values.items():
        if section or name not in SECTIONS:
            yield section + name, value
        elif isinstance(value, dict):
            yield from _places(value, path, f"{name}.")
        else:
            raise ConfigError(f"{path}: {name} must be an object, not {_show(value)}.")


def _checked(path: Path, name: str, value: Any) -> Any:
    key = KEYS[name]
    if type(value) is not key.kind:  # true is an instance of int
        raise ConfigError(f"{path}: {name} must be {KINDS[key.kind]}, not {_show(value)}.")
    if wrong := key.rule(value):
        raise ConfigError(f"{path}: {name}{wrong}")
    return value


def _show(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= SHOWN else shown[:SHOWN] + "..."
