# SPDX-License-Identifier: Apache-2.0
"""Everything a reader must refuse, each with its own sentence: artifacts are built from parts, one of them wrong."""

import gzip
import hashlib
import io
import json
import lzma
import tarfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from updater.artifact import ArtifactError, PrivateKey, PublicKey, compression, read_artifact
from updater.artifact import header as header_limits
from updater.artifact import manifest as manifest_limits
from updater.artifact.signature import encode_signature
from updater.artifact.tarstream import TarReader

Members = list[tuple[str, bytes]]
KEY = PrivateKey("ECDSA P-256", ec.generate_private_key(ec.SECP256R1()))
OTHER_KEY = PrivateKey("ECDSA P-256", ec.generate_private_key(ec.SECP256R1()))
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


HEADER = Parts().header
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
    "zstd payload": (Parts(data_name="data/0000.tar.zst"), "zstd, which is not supported"),
    "zstd header": (Parts(header_name="header.tar.zst"), "zstd, which is not supported"),
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
    # header members
    "header checksum": (
        Parts(manifest=replace(Parts(), header=HEADER[:2]).default_manifest()),
        "checksum of 'header.tar' does not match",
    ),
    "header unlisted": (
        with_manifest(lambda raw: raw.replace(line("header.tar", Parts().header_tar()), b"")),
        "'header.tar' is not in the manifest",
    ),
    "empty header": (Parts(header=[]), "does not begin with header-info"),
    "header-info not first": (Parts(header=[HEADER[1], HEADER[0]]), "does not begin with header-info"),
    "no type-info": (with_header(type_info=None), "'headers/0000/meta-data' where headers/0000/type-info"),
    "nothing after header-info": (Parts(header=HEADER[:1]), "its end where headers/0000/type-info"),
    "meta-data before type-info": (
        Parts(header=[HEADER[0], HEADER[2], HEADER[1]]),
        "'headers/0000/meta-data' where headers/0000/type-info",
    ),
    "index gap": (
        Parts(header=[HEADER[0], ("headers/0001/type-info", b"{}")]),
        "'headers/0001/type-info' where headers/0000/type-info",
    ),
    "superfluous type-info": (
        Parts(header=[*HEADER, ("headers/0001/type-info", b"{}")]),
        "'headers/0001/type-info' after its last member",
    ),
    "script after type-info": (
        Parts(header=[*HEADER[:2], (SCRIPT, b""), HEADER[2]]),
        "where headers/0000/meta-data or its end belongs",
    ),
    "unknown member": (Parts(header=[HEADER[0], ("files", b""), *HEADER[1:]]), "'files' where headers/0000/type-info"),
    "script twice": (Parts(header=[HEADER[0], (SCRIPT, b""), (SCRIPT, b""), *HEADER[1:]]), "twice"),
    "script too large": (
        Parts(header=[HEADER[0], (SCRIPT, bytes(header_limits.MAX_SCRIPT + 1)), *HEADER[1:]]),
        "ArtifactInstall_Enter_00' of the header tar is larger than",
    ),
    "too many scripts": (
        Parts(header=[HEADER[0], *((f"{SCRIPT}_{n}", b"") for n in range(300)), *HEADER[1:]]),
        "more than 256 state scripts",
    ),
    # header-info
    "no payload list": (with_header(header_info=header_info(payloads=None)), "does not state payloads"),
    "no payload": (with_header(header_info=header_info(payloads=[])), "has 0 payloads"),
    "two payloads": (with_header(header_info=header_info(payloads=[{"type": "mod"}] * 2)), "has 2 payloads"),
    "payload of other shape": (with_header(header_info=header_info(payloads=["mod"])), "the one key type"),
    "type with path": (with_header(header_info=header_info(payloads=[{"type": "../mod"}])), "payload type '../mod'"),
    "type dots": (with_header(header_info=header_info(payloads=[{"type": ".."}])), "payload type '..'"),
    "type empty": (with_header(header_info=header_info(payloads=[{"type": ""}])), "the payload type is empty"),
    "no name of the artifact": (
        with_header(header_info=header_info(artifact_provides=None)),
        "does not state artifact_name",
    ),
    "long name of the artifact": (
        with_header(header_info=header_info(artifact_provides={"artifact_name": "x" * 257})),
        "longer than 256",
    ),
    "unknown key": (with_header(header_info=header_info(extra=1)), "unknown key 'extra'"),
    "unknown key below": (
        with_header(header_info=header_info(artifact_provides={"artifact_name": "a", "x": "y"})),
        "artifact_provides of header-info has the unknown key 'x'",
    ),
    "no device type": (with_depends(), "does not state device_type"),
    "empty device type list": (with_depends(device_type=[]), "names no device type"),
    "device type as text": (with_depends(device_type="qemu"), "is not a list"),
    "depends on no name": (with_depends(device_type=["q"], artifact_name=[]), "accepts no value at all"),
    "deep JSON": (with_header(header_info=b"[" * 100_000), "header-info is not valid JSON"),
    "header-info not UTF-8": (with_header(header_info=b'{"\xff":1}'), "header-info is not valid JSON"),
    # type-info and meta-data
    "type mismatch": (with_header(type_info=b'{"type":"other"}'), "differ"),
    "type null": (with_header(type_info=b'{"type":null}'), "differ"),
    "type left empty": (with_header(type_info=b'{"type":""}'), "differ"),
    "provides a number": (with_header(type_info=type_info(artifact_provides={"a": 1})), "provides 'a' is not a string"),
    "clears no list": (with_header(type_info=type_info(clears_artifact_provides="*")), "clears_artifact_provides"),
    "device type in type-info": (
        with_header(type_info=type_info(artifact_depends={"device_type": "q"})),
        "belongs to header-info",
    ),
    "meta-data a list": (with_header(meta_data=b"[]"), "meta-data is not a JSON object"),
    "meta-data a number": (with_header(meta_data=b"1"), "meta-data is not a JSON object"),
    "meta-data NaN": (with_header(meta_data=b'{"a":NaN}'), "meta-data is not valid JSON"),
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
        Parts(
            header=[
                ("header-info", header_info(payloads=[{"type": None}])),
                ("headers/0000/type-info", b'{"type":null}'),
            ]
        ),
        "states no payload type but has payload files",
    ),
    "bootstrap with scripts": (
        Parts(
            data=[],
            header=[
                ("header-info", header_info(payloads=[{"type": None}])),
                (SCRIPT, b""),
                ("headers/0000/type-info", b'{"type":null}'),
            ],
        ),
        "carries state scripts",
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


@pytest.mark.parametrize(
    "name",
    [
        "ArtifactInstall_Enter",
        "ArtifactInstall_Enter_0",
        "ArtifactInstall_Enter_00x",
        "ArtifactInstall_Enter_00_",
        "ArtifactInstall_Enter_00_a b",
        "ArtifactInstall_Enter_00_/../../x",
        "../ArtifactInstall_Enter_00",
        "Idle_Enter_00",
        "Sync_Enter_00",
        "Download_Enter_00",
        "ArtifactInstall_Middle_00",
        "",
    ],
)
def test_script_names_follow_the_rule(name: str) -> None:
    with pytest.raises(ArtifactError, match="state script name"):
        read_whole(Parts(header=[HEADER[0], (f"scripts/{name}", b""), *HEADER[1:]]).build())


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
    "list depends": with_header(type_info=type_info(artifact_depends={"k": ["v", "w"]})),
}


@pytest.mark.parametrize("parts", LEGAL.values(), ids=list(LEGAL))
def test_legal_variants_are_read(parts: Parts) -> None:
    assert read_whole(parts.build()) == {"a.txt": b"alpha", "b.txt": b"beta"}


def test_list_depends_keep_their_values() -> None:
    artifact = read_artifact(io.BytesIO(LEGAL["list depends"].build()))
    assert artifact.depends == {"k": ("v", "w")}


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


@pytest.mark.parametrize(
    ("parts", "sentence"),
    [
        (Parts(header_end=bytes(4 * 1024 * 1024)), "more than 1048576 zero bytes after its end marker"),
        (
            Parts(header=[HEADER[0], *((f"{SCRIPT}_{n}", bytes(header_limits.MAX_SCRIPT)) for n in range(9))]),
            "the header tar is larger than 33554432 bytes",
        ),
    ],
)
def test_header_bombs_are_refused(parts: Parts, sentence: str) -> None:
    def quick(raw: bytes) -> bytes:
        return gzip.compress(raw, 1, mtime=0)

    with pytest.raises(ArtifactError, match=sentence):
        read_whole(replace(parts, header_name="header.tar.gz", compress=quick).build())


def test_xz_may_not_demand_more_memory_than_allowed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(compression, "XZ_MEMORY_LIMIT", 1024 * 1024)
    with pytest.raises(ArtifactError, match="the header cannot be decompressed"):
        read_whole(Parts(header_name="header.tar.xz", compress=lzma.compress).build())


def test_sizes_beyond_ustar_are_read() -> None:
    info = tarfile.TarInfo("large")
    info.size = 9 * 1024**3
    entry = TarReader(io.BytesIO(info.tobuf(tarfile.PAX_FORMAT)), "the tar").next_entry()
    assert entry is not None
    assert (entry.name, entry.size) == ("large", 9 * 1024**3)


def tar_header(**changes: object) -> bytes:
    info = tarfile.TarInfo("version")
    for key, value in changes.items():
        setattr(info, key, value)
    return info.tobuf(tarfile.PAX_FORMAT)


def patched(at: int, value: bytes) -> bytes:
    """The header of `version` with bytes replaced and its checksum made right again."""
    block = bytearray(tar_header())
    block[at : at + len(value)] = value
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


def pax(records: bytes) -> bytes:
    """PAX records and the header of `version`."""
    info = tarfile.TarInfo("PaxHeaders/version")
    info.size, info.type = len(records), b"x"
    return info.tobuf(tarfile.USTAR_FORMAT) + records + bytes(-len(records) % 512) + tar_header()


@pytest.mark.parametrize(
    ("block", "sentence"),
    [
        (tar_header(type=tarfile.DIRTYPE), "not a regular file"),
        (tar_header(type=tarfile.SYMTYPE, linkname="x"), "not a regular file"),
        (tar_header(type=tarfile.LNKTYPE, linkname="x"), "not a regular file"),
        (tar_header(type=tarfile.GNUTYPE_LONGNAME), "not a regular file"),
        (tar_header(type=tarfile.XGLTYPE), "not a regular file"),
        (tar_header()[:148] + b"000000\0 " + tar_header()[156:], "checksum does not match"),
        (tarfile.TarInfo("version").tobuf(tarfile.GNU_FORMAT), "not in ustar form"),
        (patched(124, b"\x80"), "malformed number"),
        (patched(124, b"9"), "malformed number"),
        (patched(124, bytes(12)), "malformed number"),
        (patched(8, b"x"), "zero byte"),
        (patched(0, b"\xff"), "not UTF-8"),
        (pax(b"rubbish"), "malformed PAX record"),
        (pax(b"99 path=x\n"), "malformed PAX record"),
        (pax(b"2 \n"), "malformed PAX record"),
        (pax(b"11 path=x\0\n"), "zero byte"),
        (pax(b"12 linkp=xy\n"), "no place in an artifact"),
        (pax(b"10 path=x\n10 path=y\n"), "no place in an artifact"),
        (pax(b"11 size=-1\n"), "malformed PAX size"),
        (pax(b"23 size=99999999999999\n"), "larger than"),
        (pax(bytes(9000)), "bytes of PAX records"),
        (pax(b"10 path=x\n")[:1024] + END, "belong to no entry"),
        (2 * pax(b"10 path=x\n")[:1024] + tar_header(), "not a regular file"),
        (b"", "truncated"),
    ],
)
def test_tar_headers_beyond_the_form(block: bytes, sentence: str) -> None:
    with pytest.raises(ArtifactError, match=sentence):
        read_artifact(io.BytesIO(block))
