# SPDX-License-Identifier: Apache-2.0
"""`dump`: the parts of an artifact as files, and the command line that puts them together again."""

import argparse
import os
import shlex
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

from updater.artifact import ROOTFS_IMAGE, Artifact, read_artifact
from updater.artifacttool.exits import ExitCode, Failure
from updater.artifacttool.files import Outputs, opened, outputs

CHUNK = 64 * 1024
META_DATA = "0000.meta-data"
SCRIPT_MODE = 0o755


def dump(options: argparse.Namespace) -> ExitCode:
    """Write the parts asked for, all of them or none, and print the command line if asked for."""
    with opened(options.artifact) as source, outputs() as made:
        artifact = read_artifact(source)
        # Before any work: what cannot be said should not be found out in the end.
        words = list(_described(artifact)) if options.print_cmdline or options.print0_cmdline else []
        if options.scripts is not None:
            for name, content in artifact.scripts.items():
                words += ["--script", str(_put(made, options.scripts / name, content, SCRIPT_MODE))]
        if options.meta_data is not None and artifact.meta_data:
            words += ["--meta-data", str(_put(made, options.meta_data / META_DATA, artifact.meta_data))]
        words += _each("--file", _payload(made, artifact, options.files))
    if options.print0_cmdline:
        sys.stdout.write("\0".join(words) + "\0")
    elif options.print_cmdline:
        print(shlex.join(words))
    return ExitCode.OK


def _payload(made: Outputs, artifact: Artifact, directory: Path | None) -> list[str]:
    """Write the payload files, or only verify them; the paths written."""
    paths = []
    for file in artifact.files():
        if directory is None:
            continue
        path = _place(directory / file.name)
        with made.file(path) as out:
            while chunk := file.read(CHUNK):
                out.write(chunk)
        paths.append(str(path))
    return paths


def _put(made: Outputs, path: Path, content: bytes, mode: int | None = None) -> Path:
    with made.file(_place(path), mode) as out:
        out.write(content)
    return path


def _place(path: Path) -> Path:
    """A path nothing is at, in a directory that is made if need be."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        why = f"The directory {path.parent} cannot be made ({error.strerror})."
        raise Failure(ExitCode.CREATE, why, "Choose another place.") from error
    if os.path.lexists(path):
        raise Failure(ExitCode.CREATE, f"The file {path} exists already.", "Choose an empty directory, or remove it.")
    return path


def _described(artifact: Artifact) -> Iterator[str]:
    """The words that write such an artifact, without its files; only long names, which mender-artifact knows too."""
    kind = {None: "bootstrap-artifact", ROOTFS_IMAGE: "rootfs-image"}.get(artifact.payload_type, "module-image")
    if artifact.clears == ():
        why = "No command line can say that an artifact clears nothing of what a device provides, as this one does."
        raise Failure(ExitCode.FEATURE, why, "Dump it without its command line.")
    yield from ("write", kind, *_said("--artifact-name", artifact.name))
    if artifact.group is not None:
        yield from _said("--provides-group", artifact.group)
    yield from _each("--artifact-name-depends", artifact.depends.get("artifact_name", ()))
    yield from _each("--device-type", artifact.device_types)
    yield from _each("--depends-groups", artifact.depends.get("artifact_group", ()))
    if kind == "module-image":
        yield from _said("--type", str(artifact.payload_type))
    if kind == "rootfs-image":
        yield "--no-checksum-provide"
    if kind != "bootstrap-artifact":
        yield from ("--no-default-software-version", "--no-default-clears-provides")
    yield from _each("--provides", [f"{key}:{value}" for key, value in artifact.provides.items()])
    yield from _each("--depends", list(_payload_depends(artifact)))
    yield from _each("--clears-provides", artifact.clears or ())


def _payload_depends(artifact: Artifact) -> Iterator[str]:
    for key, values in artifact.depends.items():
        if key not in {"artifact_name", "artifact_group"}:
            yield from (f"{key}:{value}" for value in values)


def _each(option: str, values: Sequence[str]) -> list[str]:
    return [word for value in values for word in _said(option, value)]


def _said(option: str, value: str) -> list[str]:
    # A value that looks like an option can only be told in one word.
    return [f"{option}={value}"] if value.startswith("-") else [option, value]
