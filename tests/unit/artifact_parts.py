# SPDX-License-Identifier: Apache-2.0
"""Artifacts put together by hand from parts, so that any one of them can be wrong."""

import hashlib
import io
import json
import tarfile
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec

from updater.artifact import PrivateKey, PublicKey, read_artifact
from updater.artifact.signature import encode_signature

Members = list[tuple[str, bytes]]
KEY = PrivateKey("ECDSA P-256", ec.generate_private_key(ec.SECP256R1()))
VERSION = b'{"format":"mender","version":3}'
END = bytes(1024)


def tar(members: Members, end: bytes = END) -> bytes:
    parts = []
    for name, content in members:
        info = tarfile.TarInfo(name)
        info.size = len(content)
        parts += [info.tobuf(tarfile.PAX_FORMAT), content, bytes(-len(content) % 512)]
    return b"".join(parts) + end


def header_info(**changes: object) -> bytes:
    """header-info with top-level keys replaced; None removes one."""
    value: dict[str, Any] = {
        "payloads": [{"type": "mod"}],
        "artifact_provides": {"artifact_name": "rel"},
        "artifact_depends": {"device_type": ["qemu"]},
    }
    return as_json({key: item for key, item in {**value, **changes}.items() if item is not None})


def as_json(value: object) -> bytes:
    return json.dumps(value).encode()


@dataclass(frozen=True)
class Parts:
    """The parts of a legal artifact; replace one to break it. Checksums follow unless the manifest is given."""

    version: bytes = VERSION
    header: Members = field(
        default_factory=lambda: [
            ("header-info", header_info()),
            ("headers/0000/type-info", b'{"type":"mod"}'),
            ("headers/0000/meta-data", b"{}"),
        ]
    )
    header_name: str = "header.tar"
    data: Members = field(default_factory=lambda: [("a.txt", b"alpha"), ("b.txt", b"beta")])
    data_name: str = "data/0000.tar"
    compress: Callable[[bytes], bytes] = bytes
    manifest: bytes | None = None
    signing_key: PrivateKey | None = None
    outer: Callable[[Members], Members] = list
    data_end: bytes = END
    header_end: bytes = END
    end: bytes = END

    def header_tar(self) -> bytes:
        return self.compress(tar(self.header, self.header_end))

    def default_manifest(self) -> bytes:
        hashed = [(f"data/0000/{name}", content) for name, content in self.data]
        hashed += [(self.header_name, self.header_tar()), ("version", self.version)]
        return b"".join(line(name, content) for name, content in hashed)

    def build(self) -> bytes:
        manifest = self.default_manifest() if self.manifest is None else self.manifest
        signed = [] if self.signing_key is None else [("manifest.sig", encode_signature(manifest, self.signing_key))]
        members = [
            ("version", self.version),
            ("manifest", manifest),
            *signed,
            (self.header_name, self.header_tar()),
            (self.data_name, self.compress(tar(self.data, self.data_end))),
        ]
        return tar(self.outer(members), self.end)


def line(name: str, content: bytes = b"") -> bytes:
    return f"{hashlib.sha256(content).hexdigest()}  {name}\n".encode()


def read_whole(raw: bytes, keys: list[PublicKey] | None = None) -> dict[str, bytes]:
    return {file.name: file.read() for file in read_artifact(io.BytesIO(raw), verify_keys=keys or []).files()}


def with_manifest(change: Callable[[bytes], bytes]) -> Parts:
    return Parts(manifest=change(Parts().default_manifest()))


def with_header(**changes: bytes | None) -> Parts:
    """Header members by their last name part, underscores for dashes; None removes one."""
    named = {name.rsplit("/", 1)[-1].replace("-", "_"): (name, content) for name, content in Parts().header}
    members = []
    for key, (name, content) in named.items():
        new = changes.get(key, content)
        if new is not None:
            members.append((name, new))
    return Parts(header=members)


def inserted(at: int, *members: tuple[str, bytes]) -> Callable[[Members], Members]:
    return lambda all_members: [*all_members[:at], *members, *all_members[at:]]


def with_depends(**depends: object) -> Parts:
    return with_header(header_info=header_info(artifact_depends=depends))


def type_info(**values: object) -> bytes:
    return as_json({"type": "mod", **values})
