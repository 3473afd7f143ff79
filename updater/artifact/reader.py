# SPDX-License-Identifier: Apache-2.0
"""Reading an artifact from a stream: version, manifest, signature and header, in this order and no other.

The chain of trust is signature, manifest, then all that the manifest lists; nothing is parsed before the link that
vouches for it, except the version that says how to parse. Augmented artifacts and format versions other than 3 are
refused (Mender artifact format v3).
"""

import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field

from updater.artifact.compression import ByteSource, Compression
from updater.artifact.errors import ArtifactError, NotVerified, UnsupportedFeature, UnsupportedVersion
from updater.artifact.header import MAX_HEADER, Header, parse_header
from updater.artifact.jsonvalues import parse_object
from updater.artifact.manifest import MAX_MANIFEST, Manifest, parse_manifest
from updater.artifact.names import shown
from updater.artifact.payload import Content, Payload, PayloadFile, check_file_count
from updater.artifact.restart import RESTART_EVERY, RestartPoint
from updater.artifact.signature import MAX_SIGNATURE, PublicKey, verify_signature
from updater.artifact.tarstream import TarEntry, TarReader

MAX_VERSION = 1024
"""Bytes of the version entry."""
FORMAT = "mender"
FORMAT_VERSION = 3


@dataclass(frozen=True)
class Artifact(Header):
    """An artifact whose header has been verified and whose payload is still in the stream.

    `signature` is the content of manifest.sig over the bytes of `manifest`, None if the artifact is not signed; it has
    been verified when keys were given.
    """

    manifest: bytes = field(default=b"", repr=False, compare=False)
    signature: bytes | None = field(default=None, repr=False, compare=False)
    payload: Payload | None = field(default=None, repr=False, compare=False)

    @property
    def signed(self) -> bool:
        return self.signature is not None

    def files(self) -> Iterator[PayloadFile]:
        """The payload's files, once; see Payload.files."""
        return iter(()) if self.payload is None else self.payload.files()

    def resumed(self, point: RestartPoint, stream: ByteSource, content: Content) -> Iterator[PayloadFile]:
        """The payload's one file, read on from `point`; what verifies it is the same as in `files`.

        `stream` delivers the artifact from `point.place` on; `content(offset, size)` what was read of the file before,
        at most `size` bytes. That is read again, so that the checksum at the end covers the whole file, whatever has
        happened to it since. `files` stays as it was, and may be asked for if this fails.

        Raises ArtifactError: the point belongs to another artifact or to none, the content before it has changed, or
        the rest is damaged. Most of this is only seen at the end of the file.
        """
        if self.payload is None:
            raise ArtifactError("the artifact has no payload to go on with")
        return self.payload.resumed(point, stream, content)


def read_artifact(
    stream: ByteSource, *, verify_keys: Sequence[PublicKey] = (), restart_every: int | None = RESTART_EVERY
) -> Artifact:
    """Read up to and including the header; the stream needs only `read(n)` and may answer with less than asked.

    With keys, an unsigned artifact and one signed by none of them are refused; without keys, a signature is not
    looked at. Restart points are looked for `restart_every` bytes apart, None: not at all where that takes work.
    Raises ArtifactError.
    """
    outer = TarReader(stream, "the artifact")
    version = _beginning(outer)
    check_version(version)
    manifest_raw = _named(outer.next_entry(), "manifest").read_all(MAX_MANIFEST)
    entry = outer.next_entry()
    signature: bytes | None = None
    if entry is not None and entry.name == "manifest.sig":
        signature = entry.read_all(MAX_SIGNATURE)
    if verify_keys and signature is None:
        raise NotVerified("the artifact is not signed, and a verification key is configured")
    if signature is not None:
        if verify_keys:
            verify_signature(manifest_raw, signature, verify_keys)
        entry = outer.next_entry()
    manifest = parse_manifest(manifest_raw)
    manifest.verify("version", hashlib.sha256(version).hexdigest())
    header = _read_header(entry, manifest)
    check_file_count(header.payload_type, len(manifest.payload_files()))
    # Only a bootstrap artifact, which states no payload type, may leave its payload tar out.
    payload = Payload(
        outer,
        manifest,
        identity=hashlib.sha256(manifest_raw).hexdigest(),
        restart_every=restart_every,
        optional=header.payload_type is None,
    )
    return Artifact(**vars(header), manifest=manifest_raw, signature=signature, payload=payload)


def _beginning(outer: TarReader) -> bytes:
    """The version entry; what has none is most often a file of another kind, such as a server's page for people."""
    try:
        return _named(outer.next_entry(), "version").read_all(MAX_VERSION)
    except ArtifactError as error:
        raise ArtifactError(f"this does not begin as a Mender artifact does: {error}") from error


def check_version(raw: bytes) -> None:
    """Raise ArtifactError unless the version entry names Mender's format in version 3."""
    value = parse_object(raw, "version")
    if value.get("format") != FORMAT:
        raise ArtifactError("the artifact is not in Mender's format")
    version = value.get("version")
    if type(version) is not int or version != FORMAT_VERSION:
        raise UnsupportedVersion(f"the artifact's format version is not {FORMAT_VERSION}")


def _named(entry: TarEntry | None, name: str) -> TarEntry:
    if entry is None:
        raise ArtifactError(f"the artifact ends where {name} belongs")
    if entry.name != name:
        raise ArtifactError(f"the artifact has {shown(entry.name)} where {name} belongs")
    return entry


def _read_header(entry: TarEntry | None, manifest: Manifest) -> Header:
    if entry is None:
        raise ArtifactError("the artifact ends where its header belongs")
    if entry.name == "manifest-augment":
        raise UnsupportedFeature("the artifact is augmented, which is not supported")
    compression = Compression.of(entry.name, "header.tar")
    if compression is None:
        raise ArtifactError(f"the artifact has {shown(entry.name)} where its header belongs")
    for name in manifest.checksums:
        if name.startswith("header.tar") and name != entry.name:
            raise ArtifactError(f"the manifest lists {shown(name)}, which the artifact lacks")
    raw = entry.read_all(MAX_HEADER)
    manifest.verify(entry.name, hashlib.sha256(raw).hexdigest())
    return parse_header(raw, compression)
