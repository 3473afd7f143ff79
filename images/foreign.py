# SPDX-License-Identifier: Apache-2.0
"""Other people's updaters for the board, unmodified from Debian, with the libraries that the board lacks."""

from __future__ import annotations

import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images.run import run
from images.sources import ARCHITECTURE, Apt
from images.stage import Stage, Workshop

# The client, and what it is linked with beyond what the board has.
MENDER = ("mender-client", "libglib2.0-0", "liblzma5", "libpcre2-8-0", "libffi8", "zlib1g", "libmount1", "libblkid1",
          "libselinux1", "libssl3")  # fmt: skip
# Tools that are quicker than the board's own, to be measured against, and their libraries.
TOOLS = ("gzip", "coreutils", "libacl1", "libattr1", "libgmp10")
PROGRAMS = ("usr/bin/mender", "bin/gzip", "bin/dd", "usr/bin/sha256sum", "usr/bin/tee")

# For this machine, and the scripts that the package leaves to its users to put where they belong.
HOST_TOOLS = ("mender-client", "mender-cli")
EXAMPLES = {
    "mender-device-identity": "identity",
    "mender-inventory-hostinfo": "inventory",
    "mender-inventory-os": "inventory",
    "mender-inventory-update-modules": "inventory",
}


@dataclass(frozen=True)
class MenderClient(Stage):
    """Makes `bin/mender` and the TOOLS, `lib/*` and the update modules `modules/*`, as Debian ships them."""

    name: ClassVar[str] = "mender-client"
    says: ClassVar[str] = "Fetching Debian's mender-client"
    code: ClassVar[tuple[str, ...]] = ("sources.py",)

    def inputs(self) -> dict[str, Any]:
        return {"packages": MENDER + TOOLS, "programs": PROGRAMS, "arch": ARCHITECTURE}

    def build(self, into: Path, _: Workshop) -> None:
        (into / "bin").mkdir()
        (into / "lib").mkdir()
        (into / "modules").mkdir()
        with tempfile.TemporaryDirectory() as scratch:
            apt = Apt(Path(scratch, "apt"))
            for package in MENDER + TOOLS:
                tree = Path(scratch, package)
                run(["dpkg-deb", "--extract", apt.download(package, Path(scratch)), tree])
                for library in tree.rglob("*.so.*"):
                    shutil.copyfile(library.resolve(), into / "lib" / library.name)
                for program in PROGRAMS:
                    if (tree / program).exists():
                        shutil.copy(tree / program, into / "bin")
                for module in tree.glob("usr/share/mender/modules/v3/*"):
                    shutil.copy(module, into / "modules")


@dataclass(frozen=True)
class MenderTools(Stage):
    """Makes `bin/mender`, `bin/mender-cli`, `lib/*` and `share/mender` for this machine, as Debian ships them."""

    name: ClassVar[str] = "mender-tools"
    says: ClassVar[str] = "Fetching Debian's mender-client and mender-cli"
    code: ClassVar[tuple[str, ...]] = ()

    def inputs(self) -> dict[str, Any]:
        return {"packages": HOST_TOOLS, "libraries": MENDER[1:], "examples": EXAMPLES, "arch": _host_architecture()}

    def build(self, into: Path, _: Workshop) -> None:
        for folder in ("bin", "lib", "share"):
            (into / folder).mkdir()
        with tempfile.TemporaryDirectory() as scratch:
            for package in (*HOST_TOOLS, *MENDER[1:]):
                # The machine's own lists and keys; the files stay out of its caches.
                run(["apt-get", "-o", "APT::Sandbox::User=", "download", "-q", package], cwd=Path(scratch))
            tree = Path(scratch, "tree")
            for archive in Path(scratch).glob("*.deb"):
                run(["dpkg-deb", "--extract", archive, tree])
            for library in tree.rglob("*.so.*"):
                shutil.copyfile(library.resolve(), into / "lib" / library.name)
            for program in ("mender", "mender-cli"):
                shutil.copy(tree / "usr/bin" / program, into / "bin")
            shutil.copytree(tree / "usr/share/mender", into / "share/mender")
            for name, folder in EXAMPLES.items():
                script = into / "share/mender" / folder / name
                script.parent.mkdir(exist_ok=True)
                shutil.copyfile(tree / "usr/share/doc/mender-client/examples" / name, script)
                script.chmod(0o755)


def _host_architecture() -> str:
    return run(["dpkg", "--print-architecture"]).strip()
