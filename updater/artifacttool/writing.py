# SPDX-License-Identifier: Apache-2.0
"""`write`: from options to a description, with the defaults mender-artifact adds, and from that to a file."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from updater.artifact import (
    ROOTFS_IMAGE,
    ArtifactError,
    Description,
    Software,
    write_artifact,
)
from updater.artifact.description import CHECKSUM_KEY, LEGACY_CHECKSUM_KEY
from updater.artifact.header import MAX_JSON, MAX_SCRIPT
from updater.artifacttool.exits import ExitCode, Failure, sentence
from updater.artifacttool.files import check_regular, outputs, read_small, refuse_remote, signing_key
from updater.artifacttool.options import COMPRESSIONS

FORMAT_VERSION = 3


def write_rootfs_image(options: argparse.Namespace) -> ExitCode:
    """Write an artifact that installs a root file system."""
    refuse_remote(options.file)
    checksum_key = LEGACY_CHECKSUM_KEY if options.legacy_rootfs_image_checksum else CHECKSUM_KEY
    software = _software(options, None)
    description = _description(
        options,
        payload_type=ROOTFS_IMAGE,
        software=software,
        checksum_key=None if options.no_checksum_provide else checksum_key,
    )
    return _write(options, description, [Path(options.file)])


def write_module_image(options: argparse.Namespace) -> ExitCode:
    """Write an artifact for an update module."""
    for name in options.file:
        refuse_remote(name)
    description = _description(
        options,
        payload_type=options.type,
        software=_software(options, options.type),
        meta_data=b"" if options.meta_data is None else read_small(options.meta_data, MAX_JSON),
    )
    return _write(options, description, [Path(name) for name in options.file])


def write_bootstrap_artifact(options: argparse.Namespace) -> ExitCode:
    """Write an artifact without payload."""
    description = _description(options, payload_type=None, software=None)
    return _write(options, description, [])


def _description(
    options: argparse.Namespace,
    *,
    payload_type: str | None,
    software: Software | None,
    meta_data: bytes = b"",
    checksum_key: str | None = None,
) -> Description:
    if any(letter.isspace() for letter in options.artifact_name):
        why = f"The artifact name '{options.artifact_name}' has white space in it, which mender-artifact refuses."
        raise Failure(ExitCode.PARAMETERS, why, "Give one without.")
    clears = list(options.clears_provides)
    if software is not None and not options.no_default_clears_provides and not options.no_default_software_version:
        clears += [pattern for pattern in software.clears() if pattern not in clears]
    provides = {} if software is None or not software.version else software.provides()
    return Description(
        name=options.artifact_name,
        device_types=options.compatible_types,
        payload_type=payload_type,
        group=options.provides_group,
        depends_names=options.artifact_name_depends,
        depends_groups=options.depends_groups,
        provides={**provides, **_provides(options.provides)},
        depends=_depends(options.depends),
        clears=clears or None,
        scripts=_scripts(options.script) if payload_type is not None else {},
        meta_data=meta_data,
        checksum_key=checksum_key,
    )


def _software(options: argparse.Namespace, default_name: str | None) -> Software:
    """The software the options name; its version is empty when none is to be provided."""
    filesystem, name = options.software_filesystem or ROOTFS_IMAGE, options.software_name
    if options.no_default_software_version:
        return Software(filesystem, name, options.software_version or "")
    return Software(filesystem, name or default_name, options.software_version or options.artifact_name)


def _provides(words: Sequence[str]) -> dict[str, str]:
    pairs: dict[str, str] = {}
    for word in words:
        key, value = _pair(word, "--provides")
        if key in pairs:
            raise Failure(ExitCode.PARAMETERS, f"--provides states '{key}' twice.", "State it once.")
        pairs[key] = value
    return pairs


def _depends(words: Sequence[str]) -> dict[str, list[str]]:
    """A key that is given several times accepts each of the values."""
    pairs: dict[str, list[str]] = {}
    for word in words:
        key, value = _pair(word, "--depends")
        pairs.setdefault(key, []).append(value)
    return pairs


def _pair(word: str, option: str) -> tuple[str, str]:
    key, colon, value = word.partition(":")
    if not key or not colon:
        why = f"{option} {word!r} is not of the form KEY:VALUE."
        raise Failure(ExitCode.PARAMETERS, why, "Put a colon between key and value.")
    return key, value


def _scripts(paths: Sequence[Path]) -> dict[str, bytes]:
    """State scripts by name, from files and from directories of nothing else."""
    scripts: dict[str, bytes] = {}
    for given in paths:
        try:
            found = sorted(given.iterdir()) if given.is_dir() else [given]
        except OSError as error:
            why = f"The directory {given} cannot be read ({error.strerror})."
            raise Failure(ExitCode.OPEN, why, "Check its rights.") from error
        for path in found:
            if path.name in scripts:
                raise Failure(ExitCode.PARAMETERS, f"Two state scripts are named {path.name}.", "Rename one of them.")
            scripts[path.name] = read_small(path, MAX_SCRIPT)
    return scripts


def _write(options: argparse.Namespace, description: Description, files: Sequence[Path]) -> ExitCode:
    if options.version != FORMAT_VERSION:
        why = f"Artifacts of format version {options.version} are not supported."
        raise Failure(ExitCode.VERSION, why, f"Leave --version out, or give {FORMAT_VERSION}.")
    compression, level = COMPRESSIONS[options.compression]
    key = signing_key(options.key)
    for path in files:
        check_regular(path)
    read = [*files, *filter(None, [options.key, getattr(options, "meta_data", None)]), *getattr(options, "script", ())]
    with outputs(read) as made, made.file(options.output_path) as out:
        try:
            write_artifact(out, description, files, compression=compression, compress_level=level, signing_key=key)
        except ArtifactError as error:
            next_step = "No artifact was written; correct what is named."
            raise Failure(ExitCode.PARAMETERS, sentence(error), next_step) from error
    return ExitCode.OK
