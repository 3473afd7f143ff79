# SPDX-License-Identifier: Apache-2.0
"""What the writer of an artifact says of it, and the JSON that says so.

The defaults that mender-artifact adds for the version of the software are here too, so that an artifact written
without further thought means the same to a device, whoever wrote it.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from updater.artifact.header import ROOTFS_IMAGE
from updater.artifact.jsonvalues import render

CHECKSUM_KEY = f"{ROOTFS_IMAGE}.checksum"
"""What a root file system's SHA-256 is provided as."""
LEGACY_CHECKSUM_KEY = "rootfs_image_checksum"
"""What the oldest clients call it."""


@dataclass(frozen=True)
class Software:
    """Under which key the version of the software is provided: `<filesystem>[.<name>].version`."""

    filesystem: str
    name: str | None
    version: str

    def provides(self) -> dict[str, str]:
        """The version under its key."""
        return {self._key("version"): self.version}

    def clears(self) -> list[str]:
        """Patterns of what an earlier version of this software may have provided."""
        # The two older keys name the whole root file system, so a part of it must not clear them.
        whole = self._key("*") == f"{ROOTFS_IMAGE}.*"
        return [*(["artifact_group", LEGACY_CHECKSUM_KEY] if whole else []), self._key("*")]

    def _key(self, last: str) -> str:
        return ".".join(part for part in (self.filesystem, self.name, last) if part)


@dataclass(frozen=True, kw_only=True)
class Description:
    """What an artifact says of itself; nothing is added to it but the checksum that is asked for.

    `payload_type` is None for a bootstrap artifact. `clears` of None leaves the key out, which makes a device forget
    everything it provided. `meta_data` is the text of one JSON object, or nothing. `checksum_key` is the key under
    which the SHA-256 of the one payload file is provided, unless `provides` states it.
    """

    name: str
    device_types: Sequence[str]
    payload_type: str | None
    group: str | None = None
    depends_names: Sequence[str] = ()
    depends_groups: Sequence[str] = ()
    provides: Mapping[str, str] = field(default_factory=dict)
    depends: Mapping[str, str | Sequence[str]] = field(default_factory=dict)
    clears: Sequence[str] | None = None
    scripts: Mapping[str, bytes] = field(default_factory=dict, repr=False)
    meta_data: bytes = b""
    checksum_key: str | None = None

    def header_members(self, checksums: Sequence[str]) -> Iterator[tuple[str, bytes]]:
        """The members of the header tar in order, for payload files of these SHA-256 (hex)."""
        yield "header-info", self._header_info()
        for name in sorted(self.scripts):
            yield f"scripts/{name}", self.scripts[name]
        yield "headers/0000/type-info", self._type_info(checksums)
        if self.payload_type is not None:
            yield "headers/0000/meta-data", self.meta_data

    def _header_info(self) -> bytes:
        provides = {"artifact_name": self.name, **({} if self.group is None else {"artifact_group": self.group})}
        depends: dict[str, list[str]] = {
            **({"artifact_name": list(self.depends_names)} if self.depends_names else {}),
            "device_type": list(self.device_types),
            **({"artifact_group": list(self.depends_groups)} if self.depends_groups else {}),
        }
        payloads = [{"type": self.payload_type}]
        return render({"payloads": payloads, "artifact_provides": provides, "artifact_depends": depends})

    def _type_info(self, checksums: Sequence[str]) -> bytes:
        value: dict[str, Any] = {"type": self.payload_type}
        if self.depends:
            value["artifact_depends"] = {key: _plain(item) for key, item in sorted(self.depends.items())}
        checksum = {self.checksum_key: checksums[0]} if self.checksum_key and checksums else {}
        provides = {**checksum, **self.provides}
        if provides:
            value["artifact_provides"] = dict(sorted(provides.items()))
        if self.clears is not None:
            value["clears_artifact_provides"] = list(self.clears)
        return render(value)


def _plain(accepted: str | Sequence[str]) -> str | list[str]:
    # Clients in the field read a single value only as a string.
    if isinstance(accepted, str):
        return accepted
    return accepted[0] if len(accepted) == 1 else list(accepted)
