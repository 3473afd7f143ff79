# SPDX-License-Identifier: Apache-2.0
"""The header tar: what the artifact is called, whom it fits, what it provides, and the scripts it carries.

Order is part of the format: header-info, scripts, then type-info and meta-data of the one payload. Refused: another
order, an index other than 0000, unknown members, contradictions between header-info and type-info, more than one
payload (Mender artifact format v3).
"""

import io
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from updater.artifact.compression import Compression, decompressed
from updater.artifact.errors import ArtifactError, UnsupportedFeature
from updater.artifact.jsonvalues import (
    accepted_values,
    member_object,
    parse_object,
    refuse_unknown,
    required,
    string_list,
)
from updater.artifact.names import (
    MAX_TEXT,
    MAX_VALUE,
    check_payload_type,
    check_script_name,
    check_text,
    check_value,
    shown,
)
from updater.artifact.tarstream import TarEntry, TarReader

MAX_HEADER = 16 * 1024 * 1024
"""Bytes of the header entry as stored."""
MAX_HEADER_TAR = 32 * 1024 * 1024
"""Bytes of the header tar decompressed; its scripts are held in memory, so this bounds them too."""
MAX_JSON = 1024 * 1024
"""Bytes of header-info, type-info or meta-data."""
MAX_SCRIPT = 4 * 1024 * 1024
"""Bytes of one state script."""
MAX_SCRIPTS = 256
"""State scripts of one artifact."""

ROOTFS_IMAGE = "rootfs-image"

_TYPE_INFO = "headers/0000/type-info"
_META_DATA = "headers/0000/meta-data"


@dataclass(frozen=True)
class HeaderInfo:
    """header-info, parsed; `depends` holds artifact_name and artifact_group where stated."""

    name: str
    group: str | None
    device_types: tuple[str, ...]
    payload_type: str | None
    depends: Mapping[str, tuple[str, ...]]


@dataclass(frozen=True)
class TypeInfo:
    """type-info, parsed; `clears` is None when the key is absent, which means something else than an empty list."""

    provides: Mapping[str, str]
    depends: Mapping[str, tuple[str, ...]]
    clears: tuple[str, ...] | None


@dataclass(frozen=True)
class Header:
    """All the header says. `depends` joins header-info's (without device_type) and type-info's; raw JSON is kept.

    `payload_type` is None for a bootstrap artifact, which has no payload files.
    """

    name: str
    group: str | None
    device_types: tuple[str, ...]
    payload_type: str | None
    provides: Mapping[str, str] = field(default_factory=dict)
    depends: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    clears: tuple[str, ...] | None = None
    scripts: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    header_info: bytes = field(default=b"", repr=False)
    type_info: bytes = field(default=b"", repr=False)
    meta_data: bytes = field(default=b"", repr=False)


def parse_header(raw: bytes, compression: Compression) -> Header:
    """Parse the header entry's bytes, whose checksum the caller has verified; raises ArtifactError."""
    tar = TarReader(decompressed(io.BytesIO(raw), compression, "the header"), "the header tar", MAX_HEADER_TAR)
    entry = tar.next_entry()
    if entry is None or entry.name != "header-info":
        raise ArtifactError("the header does not begin with header-info")
    header_info = entry.read_all(MAX_JSON)
    info = parse_header_info(header_info)
    scripts, entry = _read_scripts(tar)
    if entry is None or entry.name != _TYPE_INFO:
        raise ArtifactError(f"the header has {_found(entry)} where {_TYPE_INFO} belongs")
    type_info = entry.read_all(MAX_JSON)
    type_values = parse_type_info(type_info, info.payload_type)
    meta_data = _read_meta_data(tar, info.payload_type)
    if info.payload_type is None and scripts:
        raise ArtifactError("the artifact has no payload but carries state scripts")
    return Header(
        name=info.name,
        group=info.group,
        device_types=info.device_types,
        payload_type=info.payload_type,
        provides=type_values.provides,
        depends=_joined(info.depends, type_values.depends),
        clears=type_values.clears,
        scripts=scripts,
        header_info=header_info,
        type_info=type_info,
        meta_data=meta_data,
    )


def parse_header_info(raw: bytes) -> HeaderInfo:
    """Parse header-info; unknown keys are refused, as Mender's own reader does. Raises ArtifactError."""
    what = "header-info"
    value = parse_object(raw, what)
    refuse_unknown(value, ("payloads", "artifact_provides", "artifact_depends"), what)
    provides = member_object(value, "artifact_provides", what, ("artifact_name", "artifact_group"))
    depends = member_object(value, "artifact_depends", what, ("device_type", "artifact_name", "artifact_group"))
    device_types = string_list(required(depends, "device_type", what), "device_type of header-info")
    if not device_types:
        raise ArtifactError("device_type of header-info names no device type")
    return HeaderInfo(
        name=check_text(required(provides, "artifact_name", what), "artifact_name of header-info"),
        group=check_value(provides.get("artifact_group", ""), "artifact_group of header-info", MAX_TEXT) or None,
        device_types=device_types,
        payload_type=_payload_type(required(value, "payloads", what)),
        depends={
            key: _names(depends[key], f"{key} of header-info")
            for key in ("artifact_name", "artifact_group")
            if key in depends
        },
    )


def parse_type_info(raw: bytes, payload_type: str | None) -> TypeInfo:
    """Parse type-info of a payload of this type. Keys it does not know are left alone, as clients do.

    Raises ArtifactError, also when the type contradicts header-info.
    """
    what = "type-info"
    value = parse_object(raw, what)
    stated = value.get("type", "")
    # mender-artifact 3.9 leaves the type of rootfs-image payloads empty.
    if stated != payload_type and not (stated == "" and payload_type == ROOTFS_IMAGE):
        raise ArtifactError("the payload types of header-info and type-info differ")
    provides = member_object(value, "artifact_provides", what)
    depends = member_object(value, "artifact_depends", what)
    clears = value.get("clears_artifact_provides")
    return TypeInfo(
        provides={_key(key): check_value(text, f"provides {shown(key)}") for key, text in provides.items()},
        depends={_key(key): accepted_values(item, f"depends {shown(key)}", MAX_VALUE) for key, item in depends.items()},
        clears=None if clears is None else string_list(clears, "clears_artifact_provides of type-info"),
    )


def _names(value: object, what: str) -> tuple[str, ...]:
    """The names header-info accepts: unlike in type-info always a list, and never an empty one."""
    names = string_list(value, what)
    if not names:
        raise ArtifactError(f"{what} accepts no value at all")
    return names


def _payload_type(payloads: object) -> str | None:
    if not isinstance(payloads, list):
        raise ArtifactError("payloads of header-info is not a list")
    if len(payloads) != 1:
        kind = UnsupportedFeature if payloads else ArtifactError
        raise kind(f"the artifact has {len(payloads)} payloads; exactly one is supported")
    payload: Any = payloads[0]
    if not isinstance(payload, dict) or set(payload) != {"type"}:
        raise ArtifactError("the payload in header-info is not an object with the one key type")
    if payload["type"] is None:
        return None
    return check_payload_type(check_text(payload["type"], "the payload type"))


def _read_scripts(tar: TarReader) -> tuple[dict[str, bytes], TarEntry | None]:
    """The scripts, and the first entry that is none."""
    scripts: dict[str, bytes] = {}
    while (entry := tar.next_entry()) is not None and entry.name.startswith("scripts/"):
        name = check_script_name(entry.name.removeprefix("scripts/"))
        if name in scripts:
            raise ArtifactError(f"the header holds the state script {shown(name)} twice")
        if len(scripts) >= MAX_SCRIPTS:
            raise ArtifactError(f"the header holds more than {MAX_SCRIPTS} state scripts")
        scripts[name] = entry.read_all(MAX_SCRIPT)
    return scripts, entry


def _read_meta_data(tar: TarReader, payload_type: str | None) -> bytes:
    """meta-data, which may be absent or empty, and the proper end of the header."""
    entry = tar.next_entry()
    if entry is None:
        return b""
    if entry.name != _META_DATA:
        raise ArtifactError(f"the header has {_found(entry)} where {_META_DATA} or its end belongs")
    if payload_type is None:
        raise ArtifactError("the artifact has no payload but carries meta-data")
    raw = entry.read_all(MAX_JSON)
    if raw:
        parse_object(raw, "meta-data")
    extra = tar.next_entry()
    if extra is not None:
        raise ArtifactError(f"the header has {_found(extra)} after its last member")
    return raw


def _joined(
    header: Mapping[str, tuple[str, ...]], payload: Mapping[str, tuple[str, ...]]
) -> dict[str, tuple[str, ...]]:
    for key in payload:
        if key in header or key == "device_type":
            raise ArtifactError(f"type-info states the dependency {shown(key)}, which belongs to header-info")
    return {**header, **payload}


def _key(key: str) -> str:
    return check_text(key, "a key of type-info")


def _found(entry: TarEntry | None) -> str:
    return "its end" if entry is None else shown(entry.name)
