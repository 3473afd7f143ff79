# SPDX-License-Identifier: Apache-2.0
"""Every size, name and count of an artifact has a bound: what just keeps to it is read, one more is one sentence."""

from collections.abc import Callable

import pytest

from tests.unit.artifact_parts import (
    VERSION,
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
from updater.artifact import ArtifactError
from updater.artifact.header import MAX_JSON, MAX_SCRIPT, MAX_SCRIPTS
from updater.artifact.jsonvalues import MAX_ITEMS
from updater.artifact.manifest import MAX_LINES, MAX_MANIFEST
from updater.artifact.names import MAX_FILE_NAME, MAX_TEXT, MAX_VALUE
from updater.artifact.reader import MAX_VERSION

SENTENCE = 250  # characters that one may have; what comes from the artifact is shown in short
SCRIPT = "ArtifactInstall_Enter_00"


def said(**values: object) -> Parts:
    """A type-info with these."""
    return with_header(type_info=type_info(**values))


def provided(**values: object) -> Parts:
    """A header-info that provides these."""
    return with_header(header_info=header_info(artifact_provides={"artifact_name": "rel", **values}))


def scripts(number: int, size: int = 0, name: str = SCRIPT) -> Parts:
    header = Parts().header
    names = [name] if number == 1 else [f"{name}_{one:03}" for one in range(number)]
    return Parts(header=[header[0], *((f"scripts/{one}", bytes(size)) for one in names), *header[1:]])


def files(number: int) -> Parts:
    return Parts(data=[(f"f{one}", b"") for one in range(number)])


def padded(content: bytes, size: int) -> bytes:
    """JSON of exactly this many bytes."""
    return content + b" " * (size - len(content))


BOUNDS: dict[str, tuple[int, Callable[[int], Parts], str]] = {
    # counts
    "provides": (
        MAX_ITEMS,
        lambda n: said(artifact_provides={str(one): "" for one in range(n)}),
        "artifact_provides of type-info is not an object of at most 1024 keys",
    ),
    "depends": (
        MAX_ITEMS,
        lambda n: said(artifact_depends={str(one): "" for one in range(n)}),
        "artifact_depends of type-info is not an object of at most 1024 keys",
    ),
    "values of a dependency": (
        MAX_ITEMS,
        lambda n: said(artifact_depends={"key": [""] * n}),
        "depends 'key' is not a string or a list of at most 1024 strings",
    ),
    "clears": (
        MAX_ITEMS,
        lambda n: said(clears_artifact_provides=["*"] * n),
        "clears_artifact_provides of type-info is not a list of at most 1024 strings",
    ),
    "device types": (
        MAX_ITEMS,
        lambda n: with_depends(device_type=["q"] * n),
        "device_type of header-info is not a list of at most 1024 strings",
    ),
    "names it depends on": (
        MAX_ITEMS,
        lambda n: with_depends(device_type=["q"], artifact_name=["n"] * n),
        "artifact_name of header-info is not a list of at most 1024 strings",
    ),
    "groups it depends on": (
        MAX_ITEMS,
        lambda n: with_depends(device_type=["q"], artifact_group=["g"] * n),
        "artifact_group of header-info is not a list of at most 1024 strings",
    ),
    "state scripts": (MAX_SCRIPTS, scripts, "the header holds more than 256 state scripts"),
    "lines of the manifest": (MAX_LINES, lambda n: files(n - 2), "the manifest has more than 4096 lines"),
    # names and values, in characters
    "key of provides": (
        MAX_TEXT,
        lambda n: said(artifact_provides={"k" * n: ""}),
        "a key of type-info is longer than 256 characters",
    ),
    "value of provides": (
        MAX_VALUE,
        lambda n: said(artifact_provides={"key": "v" * n}),
        "provides 'key' is longer than 4096 characters",
    ),
    "value of provides under a long key": (
        MAX_VALUE,
        lambda n: said(artifact_provides={"k" * MAX_TEXT: "v" * n}),
        f"provides '{'k' * 77}...' is longer than 4096 characters",
    ),
    "key of depends": (
        MAX_TEXT,
        lambda n: said(artifact_depends={"k" * n: ""}),
        "a key of type-info is longer than 256 characters",
    ),
    "value of depends": (
        MAX_VALUE,
        lambda n: said(artifact_depends={"key": "v" * n}),
        "depends 'key' is longer than 4096 characters",
    ),
    "one of many values of depends": (
        MAX_VALUE,
        lambda n: said(artifact_depends={"key": ["v", "v" * n]}),
        "an item of depends 'key' is longer than 4096 characters",
    ),
    "pattern of clears": (
        MAX_TEXT,
        lambda n: said(clears_artifact_provides=["p" * n]),
        "an item of clears_artifact_provides of type-info is longer than 256 characters",
    ),
    "name of the artifact": (
        MAX_TEXT,
        lambda n: provided(artifact_name="n" * n),
        "artifact_name of header-info is longer than 256 characters",
    ),
    "group of the artifact": (
        MAX_TEXT,
        lambda n: provided(artifact_group="g" * n),
        "artifact_group of header-info is longer than 256 characters",
    ),
    "device type": (
        MAX_TEXT,
        lambda n: with_depends(device_type=["d" * n]),
        "an item of device_type of header-info is longer than 256 characters",
    ),
    "payload type": (
        MAX_TEXT,
        lambda n: with_header(
            header_info=header_info(payloads=[{"type": "t" * n}]), type_info=as_json({"type": "t" * n})
        ),
        "the payload type is longer than 256 characters",
    ),
    "name of a state script": (
        MAX_FILE_NAME,
        lambda n: scripts(1, name=f"{SCRIPT}_".ljust(n, "x")),
        "xxx...' is not one an artifact may carry, such as ArtifactInstall_Enter_00_name",
    ),
    # sizes, in bytes
    "state script": (
        MAX_SCRIPT,
        lambda n: scripts(1, n),
        f"'scripts/{SCRIPT}' of the header tar is larger than {MAX_SCRIPT} bytes",
    ),
    "header-info": (
        MAX_JSON,
        lambda n: with_header(header_info=padded(header_info(), n)),
        f"'header-info' of the header tar is larger than {MAX_JSON} bytes",
    ),
    "type-info": (
        MAX_JSON,
        lambda n: with_header(type_info=padded(type_info(), n)),
        f"'headers/0000/type-info' of the header tar is larger than {MAX_JSON} bytes",
    ),
    "meta-data": (
        MAX_JSON,
        lambda n: with_header(meta_data=padded(b"{}", n)),
        f"'headers/0000/meta-data' of the header tar is larger than {MAX_JSON} bytes",
    ),
    "version": (
        MAX_VERSION,
        lambda n: Parts(version=padded(VERSION, n)),
        f"'version' of the artifact is larger than {MAX_VERSION} bytes",
    ),
}


@pytest.mark.parametrize("name", BOUNDS)
def test_what_keeps_to_the_bound_is_read_and_one_more_is_one_sentence(name: str) -> None:
    most, made, sentence = BOUNDS[name]
    read_whole(made(most).build())
    with pytest.raises(ArtifactError) as refusal:
        read_whole(made(most + 1).build())
    assert sentence in str(refusal.value)
    assert len(str(refusal.value)) <= SENTENCE
    assert str(refusal.value).isprintable(), "one line, whatever the artifact holds"


def test_a_manifest_that_is_too_large_is_not_read_to_its_end() -> None:
    """Its lines cannot be so long that it is reached by a legal one, so only one more is to be seen."""
    with pytest.raises(ArtifactError, match=f"'manifest' of the artifact is larger than {MAX_MANIFEST} bytes"):
        read_whole(with_manifest(lambda raw: raw.ljust(MAX_MANIFEST + 1, b"\n")).build())
    with pytest.raises(ArtifactError, match="more than 4096 lines"):
        read_whole(with_manifest(lambda raw: raw.ljust(MAX_MANIFEST, b"\n")).build())


def test_a_file_that_the_manifest_names_is_bounded_like_one_in_the_payload() -> None:
    assert read_whole(Parts(data=[("f" * 250, b"x")]).build()) == {"f" * 250: b"x"}
    with pytest.raises(ArtifactError, match=r"^the payload file name 'f{77}\.\.\.' is not a plain file name: letters"):
        read_whole(with_manifest(lambda raw: line(f"data/0000/{'f' * (MAX_FILE_NAME + 1)}") + raw).build())
