# SPDX-License-Identifier: Apache-2.0
"""Headers a reader must refuse, each with its own sentence, and what it makes of those it takes."""

import gzip
import io
from collections.abc import Mapping
from dataclasses import replace

import pytest

from tests.unit.artifact_parts import (
    Parts,
    as_json,
    header_info,
    line,
    read_whole,
    type_info,
    with_depends,
    with_header,
    with_manifest,
)
from updater.artifact import ArtifactError, read_artifact
from updater.artifact import header as header_limits

HEADER = Parts().header
SCRIPT = "scripts/ArtifactInstall_Enter_00"

REFUSED: Mapping[str, tuple[Parts, str]] = {
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
    "long group": (
        with_header(header_info=header_info(artifact_provides={"artifact_name": "a", "artifact_group": "g" * 257})),
        "artifact_group of header-info is longer than 256",
    ),
    "depends on a name as text": (with_depends(device_type=["q"], artifact_name="n"), "is not a list"),
    "depends on a long name": (with_depends(device_type=["q"], artifact_name=["n" * 257]), "longer than 256"),
    "depends on an empty group": (with_depends(device_type=["q"], artifact_group=[""]), "is empty"),
    "too many device types": (with_depends(device_type=["q"] * 1025), "is not a list of at most 1024"),
    "depends null": (with_header(header_info=header_info(artifact_depends=[])), "is not an object"),
    "lone surrogate": (
        with_header(header_info=header_info(artifact_provides={"artifact_name": "\ud800"})),
        "unprintable",
    ),
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
    "too many provides": (
        with_header(type_info=type_info(artifact_provides={str(n): "" for n in range(1025)})),
        "at most 1024 keys",
    ),
    "long provides": (with_header(type_info=type_info(artifact_provides={"a": "x" * 4097})), "longer than 4096"),
    "long key": (with_header(type_info=type_info(artifact_provides={"a" * 257: ""})), "longer than 256"),
    "depends on nothing": (with_header(type_info=type_info(artifact_depends={"k": []})), "accepts no value at all"),
    "depends on a number": (with_header(type_info=type_info(artifact_depends={"k": 1})), "is not a string or a list"),
    "an empty pattern": (with_header(type_info=type_info(clears_artifact_provides=[""])), "is empty"),
    "name stated twice": (
        with_header(
            header_info=header_info(artifact_depends={"device_type": ["q"], "artifact_name": ["n"]}),
            type_info=type_info(artifact_depends={"artifact_name": "n"}),
        ),
        "belongs to header-info",
    ),
    "meta-data too large": (
        with_header(meta_data=as_json({"a": "x" * header_limits.MAX_JSON})),
        "meta-data' of the header tar is larger than",
    ),
    "meta-data a list": (with_header(meta_data=b"[]"), "meta-data is not a JSON object"),
    "meta-data a number": (with_header(meta_data=b"1"), "meta-data is not a JSON object"),
    "meta-data NaN": (with_header(meta_data=b'{"a":NaN}'), "meta-data is not valid JSON"),
}


@pytest.mark.parametrize(("parts", "sentence"), REFUSED.values(), ids=list(REFUSED))
def test_refused_with_its_sentence(parts: Parts, sentence: str) -> None:
    with pytest.raises(ArtifactError) as caught:
        read_whole(parts.build())
    assert sentence in str(caught.value)


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


def test_clears_are_none_or_as_stated() -> None:
    def clears(**values: object) -> tuple[str, ...] | None:
        return read_artifact(io.BytesIO(with_header(type_info=type_info(**values)).build())).clears

    assert clears() is None
    assert clears(clears_artifact_provides=[]) == ()
    assert clears(clears_artifact_provides=["a.*"]) == ("a.*",)


def test_list_depends_keep_their_values() -> None:
    artifact = read_artifact(io.BytesIO(with_header(type_info=type_info(artifact_depends={"k": ["v", "w"]})).build()))
    assert artifact.depends == {"k": ("v", "w")}
