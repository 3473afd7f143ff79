# SPDX-License-Identifier: Apache-2.0
"""The keys of the configuration: what each may hold, and which field of it takes that."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

from updater.errors import ConfigError

DAY = 86400
MOST = 2**31 - 1  # seconds and counts beyond it are slips of the pen
SHOWN = 80  # characters of a wrong value


# What is wrong with a value of the right type, to be put behind the key's name; empty if nothing is.
Rule = Callable[[Any], str]


def _between(least: int, most: int = MOST) -> Rule:
    return lambda value: "" if least <= value <= most else f" cannot be {show(value)}; {least} to {most} can."


def _printable(value: str) -> str:
    return "" if value.isprintable() else f" cannot hold what does not print: {show(value)}."


def _either(_value: bool) -> str:
    return ""


def _strings(values: list[Any]) -> str:
    wrong = (number for number, value in enumerate(values) if not isinstance(value, str) or not value)
    return next((f"[{number}] must be a path, not {show(values[number])}." for number in wrong), "")


def _address(value: str) -> str:
    good = not value or (value.startswith(("http://", "https://")) and value.isprintable() and " " not in value)
    return "" if good else f" must begin with http:// or https:// and hold no spaces, not {show(value)}."


def _servers(values: list[Any]) -> str:
    for number, entry in enumerate(values):
        if not isinstance(entry, dict):
            return f'[{number}] must be an object like {{"ServerURL": "https://..."}}, not {show(entry)}.'
        url = entry.get("ServerURL")
        if not isinstance(url, str) or not url:
            said = "is missing or empty" if url in (None, "") else f"must be a string, not {show(url)}"
            return f"[{number}].ServerURL {said}."
        if wrong := _address(url):
            return f"[{number}].ServerURL{wrong}"
    return ""


LEVELS = {"trace": "debug", "debug": "debug", "info": "info", "warning": "warning", "warn": "warning",
          "error": "error", "fatal": "critical", "panic": "critical"}  # fmt: skip


def _level(value: str) -> str:
    return "" if value.lower() in LEVELS else f" must be one of {', '.join(LEVELS)}, not {show(value)}."


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
    "Bootproof.DownloadStallSeconds": Key(int, _between(1, DAY), "download_stall"),
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
SPELLINGS = {name.lower(): name for name in (*KEYS, *NO_EFFECT, *SECTIONS)}
KINDS = {str: "a string", int: "a whole number", list: "a list", bool: "true or false"}


def checked(path: Path, name: str, value: Any) -> Any:
    """The value, if that key may hold it.

    Raises:
        ConfigError: it may not; says what may.
    """
    key = KEYS[name]
    if type(value) is not key.kind:  # true is an instance of int
        raise ConfigError(f"{path}: {name} must be {KINDS[key.kind]}, not {show(value)}.")
    if wrong := key.rule(value):
        raise ConfigError(f"{path}: {name}{wrong}")
    return value


def show(value: Any) -> str:
    shown = json.dumps(value)
    return shown if len(shown) <= SHOWN else shown[:SHOWN] + "..."
