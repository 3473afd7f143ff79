# SPDX-License-Identifier: Apache-2.0
"""Applications: artifacts for the update modules, good and bad, and what each leaves on the data partition.

Every kind has the versions `one` and `two`; `fails`, which its module cannot install; and `unkept`, which is installed
and then refused by a state script of its own before it is committed.  All live in `/data/apps/<kind>`.
"""

from __future__ import annotations

import io
import random
import stat
import tarfile
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images.errors import ImageError
from images.layout import MIB
from images.nodes import Node, Nodes
from images.release import ARTIFACT_FORMAT, DEVICE_TYPE, Keys
from images.run import run
from images.stage import Stage, Workshop, tree_digest
from updater.artifact import load_private_key, write_module_artifact

APPS = "apps"  # on the data partition
VERSIONS = ("one", "two", "fails", "unkept")
READ_ONLY = "usr/share/bootproof"  # nothing can be put there
REFUSES = {"ArtifactCommit_Enter_00_refuse": b"#!/bin/sh\necho 'this is not to be kept'\nexit 1\n"}
TIME = 1_700_000_000
PARTS = [f"{number:02}" for number in range(12)]
PART_BYTES = 128 * 1024


@dataclass(frozen=True)
class Application:
    """One by its kind, which is the name of the update module, and its version.  All else follows from these."""

    kind: str
    version: str

    def __post_init__(self) -> None:
        if self.kind not in KINDS or self.version not in VERSIONS:
            raise ImageError(
                f"There is no application '{self.kind}' of version '{self.version}'.",
                f"There are {', '.join(KINDS)} in the versions {', '.join(VERSIONS)}.",
            )

    @property
    def artifact_name(self) -> str:
        return f"{self.kind}-{self.version}"

    @property
    def provides(self) -> str:
        """The name under which a device says which version of this kind it has."""
        return f"rootfs-image.{self.kind}.version"

    @property
    def place(self) -> str:
        """The directory it is installed in, as a path on the data partition."""
        return f"{APPS}/{self.kind}"

    @property
    def rolls_back(self) -> bool:
        """Whether its module can bring the former one back."""
        return KINDS[self.kind].rolls_back

    def nodes(self) -> dict[str, Node]:
        """All that is on the data partition once it is installed, with the directories above it."""
        here = {str(Path(self.place, path)): node for path, node in KINDS[self.kind].holds(self).items()}
        above = {str(parent) for path in here for parent in Path(path).parents} - {"."}
        return {**dict.fromkeys(sorted(above), Node.directory()), **here}


@dataclass(frozen=True)
class Kind:
    """What an application of this kind is made of, and the payload that brings it."""

    holds: Callable[[Application], Nodes]  # by paths within its directory
    pack: Callable[[Application, Path], list[Path]]  # into a directory; returns the payload's files
    rolls_back: bool = True


@dataclass(frozen=True)
class ApplicationArtifact(Stage):
    """Makes the signed `<kind>-<version>.mender` of an application."""

    application: Application
    keys: Keys = Keys()
    name: ClassVar[str] = "application"
    says: ClassVar[str] = "Writing the artifact of application"
    code: ClassVar[tuple[str, ...]] = ("nodes.py",)

    @property
    def label(self) -> str:
        return self.application.artifact_name

    @property
    def file(self) -> str:
        return f"{self.application.artifact_name}.mender"

    def inputs(self) -> dict[str, Any]:
        return {
            "kind": self.application.kind, "version": self.application.version, "keys": self.keys.key,
            "format": tree_digest([ARTIFACT_FORMAT]),
        }  # fmt: skip

    def build(self, into: Path, workshop: Workshop) -> None:
        key = load_private_key((workshop.get(self.keys) / "release.pem").read_bytes())
        application = self.application
        with tempfile.TemporaryDirectory() as scratch, (into / self.file).open("wb") as out:
            write_module_artifact(
                out,
                payload_type=application.kind,
                files=KINDS[application.kind].pack(application, Path(scratch)),
                name=application.artifact_name,
                device_types=[DEVICE_TYPE],
                scripts=REFUSES if application.version == "unkept" else {},
                signing_key=key,
            )


def artifact(workshop: Workshop, application: Application) -> Path:
    """The artifact's file, made if need be.

    Raises:
        ImageError: it cannot be made.
    """
    stage = ApplicationArtifact(application)
    return workshop.get(stage) / stage.file


def _chance(application: Application) -> random.Random:
    return random.Random(application.artifact_name)


def _destination(application: Application) -> str:
    return READ_ONLY if application.version == "fails" else f"data/{application.place}"


def _write(folder: Path, **files: str | bytes) -> list[Path]:
    """Payload files by name, in this order."""
    made = []
    for name, content in files.items():
        path = folder / name
        path.write_bytes(content.encode() if isinstance(content, str) else content)
        made.append(path)
    return made


# -- single-file -------------------------------------------------------------------------------------------------------


def _one_file(application: Application) -> Nodes:
    return {"program": Node.file(_chance(application).randbytes(2 * MIB), 0o750)}


def _pack_file(application: Application, folder: Path) -> list[Path]:
    destination = f"/{_destination(application)}"
    content = _one_file(application)["program"].content
    return _write(folder, dest_dir=destination, filename="program", permissions="750", program=content)


# -- directory ---------------------------------------------------------------------------------------------------------


def _tree(application: Application) -> Nodes:
    """Forty files of all sizes in directories, a private directory, programs, links; three MiB in all."""
    chance, tree = _chance(application), {"": Node.directory()}
    for place in ("bin", "etc", "share", "share/deep", "share/deep/deeper"):
        tree[place] = Node.directory(0o750 if place == "etc" else 0o755)
        for number in range(8):
            name = f"{place}/{application.version}-{number}" if number > 5 else f"{place}/file-{number}"
            mode = {"bin": 0o755, "etc": 0o600}.get(place, 0o644)
            tree[name] = Node.file(chance.randbytes(chance.randint(0, 158_000)), mode)
    tree["current"] = Node.link(f"share/{application.version}-7")
    tree["etc/absolute"] = Node.link("/data/keepsake/letter.txt")
    tree["share/empty"] = Node.file(b"")
    return tree


def _pack_tree(application: Application, folder: Path) -> list[Path]:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for path, node in _tree(application).items():
            _add(tar, f"./{path}", node)
    return [*_write(folder, dest_dir=f"/{_destination(application)}"), *_write(folder, tree=buffer.getvalue())]


def _add(tar: tarfile.TarFile, name: str, node: Node) -> None:
    member = tarfile.TarInfo(name)
    member.mode, member.mtime = stat.S_IMODE(node.mode), TIME
    if node.is_directory:
        member.type = tarfile.DIRTYPE
    elif node.is_link:
        member.type, member.linkname = tarfile.SYMTYPE, node.content.decode()
    else:
        member.size = len(node.content)
    tar.addfile(member, io.BytesIO(node.content) if member.isreg() else None)


# -- script ------------------------------------------------------------------------------------------------------------


def _line(application: Application, part: str) -> str:
    return f"version {application.version}, part {part}"


def _parts(application: Application) -> Nodes:
    def part(name: str) -> bytes:
        line = f"{_line(application, name)}\n".encode()
        return (line * (PART_BYTES // len(line) + 1))[:PART_BYTES]

    return {f"part-{name}": Node.file(part(name)) for name in PARTS}


def _pack_script(application: Application, folder: Path) -> list[Path]:
    if application.version == "fails":
        return _write(folder, install="#!/bin/sh\necho 'this script fails' >&2\nexit 1\n")
    place = f"/data/{application.place}"
    script = (
        f"#!/bin/sh\nset -e\nmkdir -p {place}\nfor part in {' '.join(PARTS)}; do\n"
        f"    yes '{_line(application, '')}'\"$part\" | head -c {PART_BYTES} >{place}/part-$part\n    sync\ndone\n"
    )
    return _write(folder, install=script)


# -- deb ---------------------------------------------------------------------------------------------------------------


def _package_files(application: Application) -> Nodes:
    chance = _chance(application)
    return {f"lib/part-{name}": Node.file(chance.randbytes(PART_BYTES)) for name in PARTS}


def _pack_deb(application: Application, folder: Path) -> list[Path]:
    """A package without maintainer scripts; its version follows from the application's, so that dpkg sees them grow."""
    tree, package = folder / "tree", folder / "application.deb"
    for path, node in _package_files(application).items():
        file = tree / _destination(application) / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_bytes(node.content)
    for made in (tree, *tree.rglob("*")):  # whatever the umask is
        made.chmod(0o755 if made.is_dir() else 0o644)
    control = tree / "DEBIAN" / "control"
    control.parent.mkdir(mode=0o755)
    control.write_text(
        f"Package: bootproof-application\nVersion: {VERSIONS.index(application.version) + 1}\nArchitecture: all\n"
        "Maintainer: Bootproof <bootproof@example.com>\nDescription: An application that is updated\n"
    )
    stamp = {"SOURCE_DATE_EPOCH": str(TIME)}
    run(["dpkg-deb", "--build", "--root-owner-group", "-Zgzip", tree, package], env=stamp)
    return [package]


KINDS = {
    "single-file": Kind(_one_file, _pack_file),
    "directory": Kind(_tree, _pack_tree),
    "script": Kind(_parts, _pack_script, rolls_back=False),
    "deb": Kind(_package_files, _pack_deb, rolls_back=False),
}
