# SPDX-License-Identifier: Apache-2.0
"""The rules over provides, depends and clears, as pure functions."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from updater.artifact import Header, apply_provides, matches, unmet_depends

STORED = {
    "artifact_name": "old",
    "artifact_group": "beta",
    "rootfs-image.version": "old",
    "rootfs-image.checksum": "00",
    "rootfs-image.app.version": "3",
    "data.version": "9",
}


def header(**values: object) -> Header:
    defaults: dict[str, object] = {
        "name": "new",
        "group": None,
        "device_types": ("qemu", "board"),
        "payload_type": "rootfs-image",
    }
    return Header(**{**defaults, **values})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("pattern", "key", "expected"),
    [
        ("rootfs-image.*", "rootfs-image.version", True),
        ("rootfs-image.*", "rootfs-image", False),
        ("rootfs-image.*", "my-rootfs-image.version", False),
        ("rootfs-image.*", "rootfs-imageXversion", False),
        ("artifact_group", "artifact_group", True),
        ("artifact_group", "artifact_groups", False),
        ("*", "", True),
        ("a*a", "a", False),
        ("*.b.*", "a.b.b.c", True),
        ("[a]?", "a", False),
        ("", "a", False),
    ],
)
def test_pattern_matches_the_whole_key(pattern: str, key: str, expected: bool) -> None:
    assert matches(pattern, key) is expected


@given(st.text("ab.*", max_size=8), st.text("ab.", max_size=12))
def test_pattern_means_what_the_regular_expression_means(pattern: str, key: str) -> None:
    expression = ".*".join(re.escape(part) for part in pattern.split("*"))
    assert matches(pattern, key) is (re.fullmatch(expression, key) is not None)


def test_clears_drop_matching_keys_and_provides_come() -> None:
    artifact = header(provides={"rootfs-image.version": "new"}, clears=("artifact_group", "rootfs-image.*"))
    assert apply_provides(STORED, artifact) == {
        "artifact_name": "new",
        "rootfs-image.version": "new",
        "data.version": "9",
    }


def test_absent_clears_clear_everything_and_empty_clears_nothing() -> None:
    provides = {"x": "1"}
    assert apply_provides(STORED, header(provides=provides)) == {"artifact_name": "new", "x": "1"}
    assert apply_provides(STORED, header(provides=provides, clears=())) == {**STORED, "artifact_name": "new", "x": "1"}


def test_artifact_without_provides_and_clears_leaves_its_name_and_group() -> None:
    assert apply_provides(STORED, header(group="stable")) == {"artifact_name": "new", "artifact_group": "stable"}


def test_stored_map_is_left_alone() -> None:
    before = dict(STORED)
    apply_provides(STORED, header())
    assert before == STORED


@pytest.mark.parametrize(
    ("values", "device_type", "sentence"),
    [
        ({}, "qemu", None),
        ({}, "other", "the artifact is for device type qemu, board, and this device is 'other'"),
        ({"depends": {"artifact_name": ("older", "old")}}, "board", None),
        (
            {"depends": {"artifact_name": ("a", "b")}},
            "board",
            "the artifact depends on 'artifact_name' being 'a' or 'b', and this device provides 'old'",
        ),
        ({"depends": {"k": ("v",)}}, "qemu", "the artifact depends on 'k', which this device does not provide"),
    ],
)
def test_unmet_depends_says_why(values: dict[str, object], device_type: str, sentence: str | None) -> None:
    assert unmet_depends(header(**values), device_type=device_type, stored=STORED) == sentence
