# SPDX-License-Identifier: Apache-2.0
"""What an application's artifact brings is what is expected on the data partition, byte for byte."""

import stat
import subprocess
from pathlib import Path

import pytest

from harness.judge import data
from harness.storage import DiskView, ExtentMap
from images.applications import KINDS, VERSIONS, Application, ApplicationArtifact, artifact
from images.cache import Cache
from images.errors import ImageError
from images.nodes import Node
from images.stage import Workshop
from tests.unit.small_board import LAYOUT, make_image
from updater.artifact import load_public_key, read_artifact

KEPT = ("one", "two", "unkept")
ALL = [(kind, version) for kind in KINDS for version in VERSIONS]


def nodes(tree: Path) -> dict[str, Node]:
    found = {}
    for path in sorted(tree.rglob("*")):
        mode = path.lstat().st_mode
        link = stat.S_ISLNK(mode)
        content = path.read_bytes() if stat.S_ISREG(mode) else b""
        found[str(path.relative_to(tree))] = Node.link(str(path.readlink())) if link else Node(mode, content)
    return found


def packed(application: Application, folder: Path) -> dict[str, Path]:
    folder.mkdir()
    return {path.name: path for path in KINDS[application.kind].pack(application, folder)}


@pytest.mark.parametrize("version", KEPT)
def test_a_single_file(tmp_path: Path, version: str) -> None:
    application = Application("single-file", version)
    payload = packed(application, tmp_path / "payload")
    destination, name = payload["dest_dir"].read_text(), payload["filename"].read_text()
    expected = application.nodes()[f"{destination.removeprefix('/data/')}/{name}"]
    assert payload[name].read_bytes() == expected.content
    assert stat.S_IMODE(expected.mode) == int(payload["permissions"].read_text(), 8)


@pytest.mark.parametrize("version", KEPT)
def test_a_directory(tmp_path: Path, version: str) -> None:
    application = Application("directory", version)
    payload = packed(application, tmp_path / "payload")
    place = tmp_path / "tree" / payload["dest_dir"].read_text().removeprefix("/data/")
    place.mkdir(parents=True)
    subprocess.run(["tar", "-xpf", payload["tree"], "-C", place], check=True)
    found = nodes(tmp_path / "tree")
    assert found == application.nodes()
    assert len(found) > 45
    assert sum(stat.S_ISLNK(node.mode) for node in found.values()) == 2


@pytest.mark.parametrize("version", KEPT)
def test_a_script(tmp_path: Path, version: str) -> None:
    application = Application("script", version)
    script = packed(application, tmp_path / "payload")["install"].read_text()
    moved = script.replace("/data/", f"{tmp_path}/tree/").replace("    sync\n", "")
    subprocess.run(["sh", "-c", f"umask 022; {moved}"], check=True)
    assert nodes(tmp_path / "tree") == application.nodes()


@pytest.mark.parametrize("version", KEPT)
def test_a_package(tmp_path: Path, version: str) -> None:
    """Read by what reads packages; its places are those of the board's root."""
    application = Application("deb", version)
    package = packed(application, tmp_path / "payload")["application.deb"]
    subprocess.run(["dpkg-deb", "--extract", package, tmp_path / "tree"], check=True)
    assert nodes(tmp_path / "tree" / "data") == application.nodes()


def test_what_fails_brings_nothing_to_the_data_partition(tmp_path: Path) -> None:
    for kind in ("single-file", "directory"):
        payload = packed(Application(kind, "fails"), tmp_path / kind)
        assert payload["dest_dir"].read_text().startswith("/usr/")
    package = packed(Application("deb", "fails"), tmp_path / "deb")["application.deb"]
    listed = subprocess.run(["dpkg-deb", "--contents", package], check=True, capture_output=True, text=True).stdout
    assert "./usr/share/" in listed
    assert "./data" not in listed


@pytest.mark.parametrize("kind", KINDS)
def test_versions_differ_in_what_they_leave(kind: str) -> None:
    contents = [frozenset(Application(kind, version).nodes().items()) for version in KEPT]
    assert len(set(contents)) == len(KEPT)
    assert all(len(node.content) < 4 << 20 for node in Application(kind, "one").nodes().values())


@pytest.mark.parametrize("kind", KINDS)
def test_packing_twice_gives_the_same_bytes(tmp_path: Path, kind: str) -> None:
    application = Application(kind, "one")
    one, two = packed(application, tmp_path / "a"), packed(application, tmp_path / "b")
    assert {name: path.read_bytes() for name, path in one.items()} == {
        name: path.read_bytes() for name, path in two.items()
    }


def test_artifacts_are_signed_and_named(tmp_path: Path) -> None:
    workshop = Workshop(Cache(tmp_path))
    keys = load_public_key(
        (workshop.get(ApplicationArtifact(Application("script", "one")).keys) / "release.pub.pem").read_bytes()
    )
    for version, refuses in (("one", False), ("unkept", True)):
        application = Application("script", version)
        with artifact(workshop, application).open("rb") as file:
            read = read_artifact(file, verify_keys=[keys])
            assert (read.name, read.payload_type) == (f"script-{version}", "script")
            assert read.provides[application.provides] == f"script-{version}"
            assert bool(read.scripts) == refuses


@pytest.mark.parametrize(("kind", "version"), [("docker", "one"), ("script", "three")])
def test_there_is_no_other(kind: str, version: str) -> None:
    with pytest.raises(ImageError, match="There is no application"):
        Application(kind, version)


def test_nodes_are_read_from_a_medium(tmp_path: Path) -> None:
    """With their kinds and modes, by path, and nothing where nothing is."""
    image = make_image(tmp_path, {"apps/tool/bin/run": b"\0run", "apps/tool/empty": b"", "other/file": b"x"})
    view = DiskView(image, ExtentMap())
    before = image.read_bytes()
    assert data.nodes(view, LAYOUT, "apps/tool", "nothing/there") == {
        "apps/tool": Node.directory(),
        "apps/tool/bin": Node.directory(),
        "apps/tool/bin/run": Node.file(b"\0run"),
        "apps/tool/empty": Node.file(b""),
    }
    assert set(data.nodes(view, LAYOUT, "other/file", "apps/tool/bin")) == {
        "other/file",
        "apps/tool/bin",
        "apps/tool/bin/run",
    }
    assert image.read_bytes() == before
