# SPDX-License-Identifier: Apache-2.0
"""Everything a reader must refuse, each with its own sentence: artifacts are built from parts, one of them wrong."""

import gzip
import hashlib
import io
import lzma
from collections.abc import Callable, Mapping
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from tests.unit.artifact_parts import (
    END,
    KEY,
    VERSION,
    Members,
    Parts,
    header_info,
    inserted,
    line,
    read_whole,
    tar,
    type_info,
    with_header,
    with_manifest,
)
from updater.artifact import (
    ArtifactError,
    PrivateKey,
    UnsupportedFeature,
    UnsupportedVersion,
    compression,
    read_artifact,
)
from updater.artifact import manifest as manifest_limits
from updater.artifact.signature import encode_signature

HEADER = Parts().header
OTHER_KEY = PrivateKey("ECDSA P-256", ec.generate_private_key(ec.SECP256R1()))
BOOTSTRAP_HEADER = [
    ("header-info", header_info(payloads=[{"type": None}])),
    ("headers/0000/type-info", b'{"type":null,"artifact_provides":{"a":"b"}}'),
]
BOOTSTRAP = Parts(header=BOOTSTRAP_HEADER, data=[])
SCRIPT = "scripts/ArtifactInstall_Enter_00"

REFUSED: Mapping[str, tuple[Parts, str]] = {
    # version
    "wrong format": (Parts(version=b'{"format":"other","version":3}'), "not in Mender's format"),
    "version 2": (Parts(version=b'{"format":"mender","version":2}'), "format version is not 3"),
    "version as text": (Parts(version=b'{"format":"mender","version":"3"}'), "format version is not 3"),
    "version 3.0": (Parts(version=b'{"format":"mender","version":3.0}'), "format version is not 3"),
    "version not JSON": (Parts(version=b"3"), "version is not a JSON object"),
    "version rubbish": (Parts(version=b"{"), "version is not valid JSON"),
    "version twice in JSON": (
        Parts(version=b'{"format":"mender","version":2,"version":3}'),
        "version is not valid JSON",
    ),
    "version too large": (Parts(version=VERSION + b" " * 2000), "'version' of the artifact is larger than"),
    "version not first": (Parts(outer=lambda m: [m[1], m[0], *m[2:]]), "'manifest' where version belongs"),
    "version checksum": (
        with_manifest(lambda raw: raw.replace(hashlib.sha256(VERSION).hexdigest().encode(), b"0" * 64)),
        "checksum of 'version' does not match",
    ),
    "version unlisted": (
        with_manifest(lambda raw: raw[: raw.index(line("version", VERSION))]),
        "'version' is not in the manifest",
    ),
    # manifest
    "no manifest": (Parts(outer=lambda m: [m[0], *m[2:]]), "'header.tar' where manifest belongs"),
    "nothing after version": (Parts(outer=lambda m: m[:1]), "ends where manifest belongs"),
    "short hash": (with_manifest(lambda raw: raw[1:]), "line 1 of the manifest"),
    "upper-case hash": (with_manifest(lambda raw: raw[:64].upper() + raw[64:]), "line 1 of the manifest"),
    "one space": (with_manifest(lambda raw: raw.replace(b"  ", b" ")), "line 1 of the manifest"),
    "newline in separator": (with_manifest(lambda raw: raw.replace(b"  ", b" \n")), "line 1 of the manifest"),
    "all on one line": (with_manifest(lambda raw: raw.replace(b"\n", b" ")), "does not end with a newline"),
    "lines joined": (with_manifest(lambda raw: raw[:-1].replace(b"\n", b" ") + b"\n"), "line 1 of the manifest"),
    "no name": (with_manifest(lambda raw: raw[:66] + b"\n" + raw), "line 1 of the manifest"),
    "blank line": (with_manifest(lambda raw: raw + b"\n"), "line 5 of the manifest"),
    "no last newline": (with_manifest(lambda raw: raw[:-1]), "does not end with a newline"),
    "listed twice": (with_manifest(lambda raw: raw + line("version", VERSION)), "lists 'version' twice"),
    "lists stranger": (with_manifest(lambda raw: raw + line("other")), "'other', which has no place"),
    "lists second payload": (with_manifest(lambda raw: raw + line("data/0001/x")), "second payload"),
    "lists other header": (
        with_manifest(lambda raw: raw + line("header.tar.gz")),
        "lists 'header.tar.gz', which the artifact lacks",
    ),
    "lists absent file": (
        with_manifest(lambda raw: raw + line("data/0000/c.txt")),
        "lists the payload file 'c.txt', which the artifact lacks",
    ),
    "lists path": (with_manifest(lambda raw: raw + line("data/0000/../x")), "not a plain file name"),
    "too many lines": (
        Parts(manifest=b"".join(line(f"data/0000/{n}") for n in range(manifest_limits.MAX_LINES + 1))),
        "more than 4096 lines",
    ),
    "manifest too large": (Parts(manifest=bytes(manifest_limits.MAX_MANIFEST + 1)), "'manifest' of the artifact is"),
    # outer entries
    "manifest-augment": (Parts(outer=inserted(2, ("manifest-augment", b""))), "augmented"),
    "unknown before header": (Parts(outer=inserted(2, ("other", b""))), "'other' where its header belongs"),
    "unknown before data": (Parts(outer=inserted(3, ("other", b""))), "'other' where its payload tar belongs"),
    "unknown at the end": (Parts(outer=inserted(9, ("other", b""))), "unknown entry 'other'"),
    "second payload": (Parts(outer=inserted(9, ("data/0001.tar", END))), "second payload, 'data/0001.tar'"),
    "payload twice": (Parts(outer=inserted(9, ("data/0000.tar", END))), "second payload, 'data/0000.tar'"),
    "payload index": (Parts(data_name="data/0001.tar"), "'data/0001.tar' where its payload tar belongs"),
    "no header": (Parts(outer=lambda m: [*m[:2], *m[3:]]), "'data/0000.tar' where its header belongs"),
    "no header and no data": (Parts(outer=lambda m: m[:2]), "ends where its header belongs"),
    "no payload tar": (Parts(outer=lambda m: m[:3]), "no payload tar"),
    "unknown compression": (Parts(data_name="data/0000.tar.bz2"), "'data/0000.tar.bz2' where its payload tar belongs"),
    "bootstrap with another entry": (
        replace(BOOTSTRAP, outer=lambda m: [*m[:3], ("other", b"")]),
        "'other' where its payload tar belongs",
    ),
    # the tars' ends and compressed streams
    "bytes after the end": (Parts(end=END + b"x"), "the artifact has bytes after its end marker"),
    "one zero block": (Parts(end=bytes(512)), "the artifact is truncated"),
    "no end": (Parts(end=b""), "the artifact is truncated"),
    "entry after the end": (Parts(end=bytes(512) + tar([("x", b"")])), "bytes after its end marker"),
    "endless zeros": (Parts(end=bytes(3 * 1024 * 1024)), "zero bytes after its end marker"),
    "payload tar without end": (Parts(data_end=b""), "the payload tar is truncated"),
    "bytes after the payload tar": (Parts(data_end=END + b"x"), "the payload tar has bytes after"),
    "bytes after the header tar": (Parts(header_end=END + b"x"), "the header tar has bytes after"),
    "bytes after gzip": (
        Parts(header_name="header.tar.gz", compress=lambda raw: gzip.compress(raw) + b"x"),
        "bytes after the end of its compressed stream",
    ),
    "two xz streams": (
        Parts(header_name="header.tar.xz", compress=lambda raw: 2 * lzma.compress(raw)),
        "bytes after the end of its compressed stream",
    ),
    "gzip cut short": (
        Parts(header_name="header.tar.gz", compress=lambda raw: gzip.compress(raw)[:-1]),
        "the header is truncated",
    ),
    "not gzip": (Parts(header_name="header.tar.gz"), "the header cannot be decompressed"),
    "not xz": (Parts(header_name="header.tar.xz"), "the header cannot be decompressed"),
    # payload files
    "payload checksum": (
        with_manifest(lambda raw: raw.replace(hashlib.sha256(b"beta").hexdigest().encode(), b"0" * 64)),
        "checksum of 'data/0000/b.txt' does not match",
    ),
    "payload file unlisted": (
        with_manifest(lambda raw: raw.replace(line("data/0000/b.txt", b"beta"), b"")),
        "'data/0000/b.txt' is not in the manifest",
    ),
    "payload file twice": (
        replace(with_manifest(bytes), data=[("a.txt", b"alpha"), ("a.txt", b"alpha")]),
        "holds 'a.txt' twice",
    ),
    "bootstrap with files": (
        Parts(header=BOOTSTRAP_HEADER),
        "states no payload type but has payload files",
    ),
    "bootstrap with scripts": (
        replace(BOOTSTRAP, header=[BOOTSTRAP_HEADER[0], (SCRIPT, b""), BOOTSTRAP_HEADER[1]]),
        "carries state scripts",
    ),
    "bootstrap with meta-data": (
        replace(BOOTSTRAP, header=[*BOOTSTRAP_HEADER, ("headers/0000/meta-data", b"")]),
        "no payload but carries meta-data",
    ),
    "bootstrap with a typed type-info": (
        replace(BOOTSTRAP, header=[BOOTSTRAP_HEADER[0], ("headers/0000/type-info", b'{"type":"mod"}')]),
        "the payload types of header-info and type-info differ",
    ),
    "bootstrap whose payload tar holds a file": (
        replace(BOOTSTRAP, outer=lambda m: [*m[:3], (m[3][0], tar([("a.txt", b"")]))]),
        "'data/0000/a.txt' is not in the manifest",
    ),
    "rootfs-image without a file": (
        replace(
            with_header(header_info=header_info(payloads=[{"type": "rootfs-image"}]), type_info=b'{"type":""}'), data=[]
        ),
        "exactly one file, and this one has 0",
    ),
    "rootfs-image with two files": (
        with_header(header_info=header_info(payloads=[{"type": "rootfs-image"}]), type_info=b'{"type":"rootfs-image"}'),
        "exactly one file, and this one has 2",
    ),
}


@pytest.mark.parametrize(("parts", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_refused_with_its_sentence(parts: Parts, sentence: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_whole(parts.build())
    assert sentence in str(caught.value)


@pytest.mark.parametrize("name", ["../x", "a/b", "/etc/passwd", "..", ".", "a b", "é", "x" * 256])
def test_payload_names_stay_in_their_directory(name: str) -> None:
    manifest = Parts().default_manifest()
    with pytest.raises(ArtifactError, match="not a plain file name"):
        read_whole(Parts(data=[(name, b"")], manifest=manifest).build())


LEGAL: Mapping[str, Parts] = {
    "plain": Parts(),
    "signed, no key given": Parts(signing_key=KEY),
    "extra zero blocks": Parts(end=bytes(20 * 512), data_end=bytes(20 * 512), header_end=bytes(20 * 512)),
    "mixed compression": replace(
        Parts(data_name="data/0000.tar"),
        outer=lambda m: [*m[:-1], ("data/0000.tar.gz", gzip.compress(m[-1][1]))],
    ),
    "no meta-data": with_header(meta_data=None),
    "empty meta-data": with_header(meta_data=b""),
    "no group": with_header(header_info=header_info(artifact_provides={"artifact_name": "a", "artifact_group": ""})),
    "legacy: neither provides nor clears": with_header(type_info=b'{"type":"mod"}'),
    "null provides and clears": with_header(
        type_info=type_info(artifact_provides=None, artifact_depends=None, clears_artifact_provides=None)
    ),
    "clears with wildcards": with_header(type_info=type_info(clears_artifact_provides=["*", "a.*.b", "x"])),
    "a key this reader does not know": with_header(type_info=type_info(later=1)),
    "list depends": with_header(type_info=type_info(artifact_depends={"k": ["v", "w"]})),
}


@pytest.mark.parametrize("parts", LEGAL.values(), ids=list(LEGAL))
def test_legal_variants_are_read(parts: Parts) -> None:
    assert read_whole(parts.build()) == {"a.txt": b"alpha", "b.txt": b"beta"}


@pytest.mark.parametrize("outer", [list, lambda members: members[:3]], ids=["empty payload tar", "no payload tar"])
def test_bootstrap_artifacts_are_read(outer: Callable[[Members], Members]) -> None:
    artifact = read_artifact(io.BytesIO(replace(BOOTSTRAP, outer=outer).build()))
    assert (artifact.payload_type, artifact.provides, list(artifact.files())) == (None, {"a": "b"}, [])


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        (Parts(version=b'{"format":"mender","version":2}'), UnsupportedVersion),
        (Parts(outer=inserted(2, ("manifest-augment", b""))), UnsupportedFeature),
        (Parts(outer=inserted(9, ("data/0001.tar", END))), UnsupportedFeature),
        (with_header(header_info=header_info(payloads=[{"type": "mod"}] * 2)), UnsupportedFeature),
        (with_manifest(lambda raw: raw + line("data/0001/x")), UnsupportedFeature),
    ],
)
def test_what_is_known_and_not_supported_has_its_own_kind(parts: Parts, kind: type[ArtifactError]) -> None:
    with pytest.raises(kind):
        read_whole(parts.build())


def test_nothing_of_the_payload_is_seen_before_the_header_is_right() -> None:
    class Stopped(io.BytesIO):
        """The artifact up to its payload, and no further."""

        def read(self, n: int | None = -1, /) -> bytes:
            data = super().read(n)
            assert data, "the reader went beyond the header"
            return data

    raw = Parts().build()
    read_artifact(Stopped(raw[: raw.index(b"data/0000.tar")]))
    for parts, sentence in ((with_header(type_info=b'{"type":"other"}'), "differ"), REFUSED["bootstrap with files"]):
        raw = parts.build()
        with pytest.raises(ArtifactError, match=sentence):
            read_artifact(Stopped(raw[: raw.index(b"data/0000.tar")]))


def other_manifest(members: Members) -> Members:
    """The signature of another manifest."""
    return [(n, encode_signature(b"other", KEY) if n == "manifest.sig" else c) for n, c in members]


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (Parts(), "not signed"),
        (Parts(signing_key=OTHER_KEY), "none of the verification keys"),
        (Parts(signing_key=KEY, outer=other_manifest), "none of the verification keys"),
        (Parts(signing_key=KEY, outer=lambda m: [*m[:2], m[3], m[2], *m[4:]]), "not signed"),
        (Parts(signing_key=KEY, outer=lambda m: [m[0], m[2], m[1], *m[3:]]), "where manifest belongs"),
        (Parts(signing_key=KEY, outer=inserted(3, ("manifest.sig", b""))), "where its header belongs"),
    ],
)
def test_signature_policy(parts: Parts, sentence: str) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        read_whole(parts.build(), [KEY.public_key()])


def test_signature_is_judged_before_manifest_and_header() -> None:
    rubbish = Parts(signing_key=OTHER_KEY, manifest=b"rubbish", header=[("x", b"")])
    with pytest.raises(ArtifactError, match="none of the verification keys"):
        read_whole(rubbish.build(), [KEY.public_key()])


def test_xz_may_not_demand_more_memory_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "XZ_MEMORY_LIMIT", 1024 * 1024)
    with pytest.raises(ArtifactError, match="the header cannot be decompressed"):
        read_whole(Parts(header_name="header.tar.xz", compress=lzma.compress).build())
