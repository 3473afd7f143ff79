# SPDX-License-Identifier: Apache-2.0
"""Small artifacts for refusals, and versions with state scripts: each is good or bad in the one way it says."""

import re
from pathlib import Path
from typing import Any

import pytest

from images.cache import Cache
from images.catalogue import Catalogue
from images.recipes import RECIPES
from images.samples import Spoiled
from images.stage import Workshop
from images.statescripts import BODY, MOMENTS, OF_ROOTFS, artifact_scripts, rootfs_scripts
from updater.artifact import ArtifactError, load_public_key, read_artifact


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    return Catalogue(Workshop(Cache(tmp_path_factory.mktemp("cache"))))


def read_whole(file: Path, catalogue: Catalogue, *trusted: str) -> Any:
    keys = [load_public_key(catalogue.verify_key(one)) for one in trusted]
    with file.open("rb") as source:
        artifact = read_artifact(source, verify_keys=keys)
        for payload in artifact.files():
            payload.drain()
        return artifact


@pytest.mark.parametrize("signer", ["release", "release-ec", "stranger", "stranger-ec"])
def test_a_sample_is_signed_by_whom_it_says(catalogue: Catalogue, signer: str) -> None:
    sample = catalogue.sample(signer)
    assert read_whole(sample, catalogue).signed
    assert read_whole(sample, catalogue, signer).name == "sample"
    others = {"release", "release-ec", "stranger", "stranger-ec"} - {signer}
    with pytest.raises(ArtifactError, match="matches none of the verification keys"):
        read_whole(sample, catalogue, *others)


def test_a_sample_may_be_unsigned(catalogue: Catalogue) -> None:
    assert not read_whole(catalogue.sample(None), catalogue).signed
    with pytest.raises(ArtifactError, match="not signed"):
        read_whole(catalogue.sample(None), catalogue, "release")


@pytest.mark.parametrize("signer", ["release", "release-ec"])
@pytest.mark.parametrize(("spoiled", "what"), [("header", "'header.tar.gz'"), ("payload", "'data/0000/rootfs.ext4'")])
def test_what_is_spoiled_is_the_checksum_and_not_the_signature(
    catalogue: Catalogue, signer: str, spoiled: Spoiled, what: str
) -> None:
    with pytest.raises(ArtifactError, match=f"checksum of {what} does not match"):
        read_whole(catalogue.sample(signer, spoiled), catalogue, signer)


def test_scripts_have_names_that_a_client_runs() -> None:
    of_artifact = list(artifact_scripts())
    of_rootfs = [Path(edit.path).name for edit in rootfs_scripts() if edit.content == BODY]
    for name in (*of_artifact, *of_rootfs):
        found = re.fullmatch(r"([A-Za-z]+)_(Enter|Leave|Error)_\d{2}(_\S+)?", name)
        assert found, name
        assert found.group(2) in MOMENTS[found.group(1)]
        assert (found.group(1) in OF_ROOTFS) == (name in of_rootfs)
    assert len(of_artifact) + len(of_rootfs) == sum(map(len, MOMENTS.values())) + 2


def test_scripts_of_an_unknown_version_differ_in_it_alone() -> None:
    good, odd = (RECIPES[name].edits(lambda file: Path(file)) for name in ("scripted-b", "scripts-unknown"))
    assert [one.path for one, other in zip(good, odd, strict=True) if one != other] == ["/etc/mender/scripts/version"]
    assert RECIPES["scripts-unknown"].scripts == RECIPES["scripted-c"].scripts == artifact_scripts()
    assert RECIPES["b"].scripts == {}
