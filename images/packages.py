# SPDX-License-Identifier: Apache-2.0
"""Debian's arm64 packages: fetched and unpacked without running any arm64 code, and locked.

`packages.lock.json` records the name, version and SHA-256 of every package that went into the images.
"""

from __future__ import annotations

import hashlib
import json
import tarfile
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images.run import run
from images.sources import ARCHITECTURE, Apt, host_sources
from images.stage import Stage, Workshop

INCLUDE = (
    "busybox-static",  # init and the tools
    "ca-certificates",
    "dropbear-bin",  # the SSH server
    "libubootenv-tool",  # fw_printenv, fw_setenv
    "python3",
    "python3-cryptography",
    "python3-zstandard",  # artifacts compressed with zstd
)
KERNEL = "linux-image-arm64"
ARCHIVES = "./var/cache/apt/archives/"


@dataclass(frozen=True)
class Packages(Stage):
    """Makes `root.tar` (all packages unpacked), `kernel.deb` and `packages.lock.json`."""

    name: ClassVar[str] = "packages"
    says: ClassVar[str] = "Fetching Debian's arm64 packages"
    code: ClassVar[tuple[str, ...]] = ("sources.py",)

    def inputs(self) -> dict[str, Any]:
        return {"include": INCLUDE, "kernel": KERNEL, "arch": ARCHITECTURE}

    def build(self, into: Path, _: Workshop) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            apt = Apt(Path(scratch))
            kernel = apt.download(apt.depends(KERNEL)[0], into)
            locked = [_locked(kernel.name, kernel.read_bytes())]
            kernel.rename(into / "kernel.deb")
            raw = Path(scratch, "raw.tar")
            _unpack(apt, raw)
            locked += _strip_archives(raw, into / "root.tar")
        locked.sort(key=lambda package: package["name"])
        (into / "packages.lock.json").write_text(json.dumps(locked, indent=1) + "\n")


def _unpack(apt: Apt, tar: Path) -> None:
    """All packages into one tar.  'extract' unpacks and runs nothing; the archives stay in it, to be locked."""
    sources = tar.with_suffix(".list")
    sources.write_text("\n".join(apt.binary_lines) + "\n")
    run(
        [
            "fakeroot", "--", "mmdebstrap", "--mode=chrootless", "--variant=extract",
            f"--architectures={ARCHITECTURE}", f"--include={','.join(INCLUDE)}",
            "--skip=cleanup/apt,cleanup/tmp,check/qemu,check/chrootless",
            "--dpkgopt=path-exclude=/usr/share/doc/*",
            host_sources()[0].suite, tar, "-",
        ],
        stdin=sources,
    )  # fmt: skip


def _strip_archives(raw: Path, stripped: Path) -> list[dict[str, str]]:
    """Copy a tar without apt's files; returns the lock records of the archives found in it."""
    locked = []
    with tarfile.open(raw) as source, tarfile.open(stripped, "w", format=tarfile.PAX_FORMAT) as target:
        for member in source:
            if member.name.startswith(ARCHIVES) and member.name.endswith(".deb"):
                file = source.extractfile(member)
                assert file is not None
                locked.append(_locked(Path(member.name).name, file.read()))
            elif not member.name.startswith(("./var/", "./dev/", "./tmp/")):
                target.addfile(member, source.extractfile(member) if member.isreg() else None)
    return locked


def _locked(file: str, content: bytes) -> dict[str, str]:
    name, version, _ = file.removesuffix(".deb").split("_")
    return {"name": name, "version": version.replace("%3a", ":"), "sha256": hashlib.sha256(content).hexdigest()}
