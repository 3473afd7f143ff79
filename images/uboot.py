# SPDX-License-Identifier: Apache-2.0
"""The bootloader: Debian's U-Boot source with our fragment, environment and watchdog driver."""

from __future__ import annotations

import json
import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images.cache import digest
from images.run import run
from images.sources import Apt
from images.stage import HERE, Stage, Workshop, tree_digest

RECIPE = HERE / "boards" / "virt_a64" / "uboot"
DEFCONFIG = "configs/qemu_arm64_defconfig"
# PCI must be up before the environment is loaded from a card behind it.
CPP_FLAGS = "-DCONFIG_SYS_EARLY_PCI_INIT"
CROSS = {"CROSS_COMPILE": "aarch64-linux-gnu-", "KCPPFLAGS": CPP_FLAGS, "SOURCE_DATE_EPOCH": "1700000000"}
SINGLE_COPY = "# CONFIG_SYS_REDUNDAND_ENVIRONMENT is not set\n"


@dataclass(frozen=True)
class UBoot(Stage):
    """Makes `u-boot.bin`, and `source.lock.json` with the version and SHA-256 of the source it was made from.

    `redundant=False` plants the fault of a single environment copy.
    """

    redundant: bool = True
    name: ClassVar[str] = "uboot"
    says: ClassVar[str] = "Building U-Boot from Debian's source package"
    code: ClassVar[tuple[str, ...]] = ("sources.py",)

    @property
    def label(self) -> str:
        return "" if self.redundant else "(single environment copy)"

    def inputs(self) -> dict[str, Any]:
        return {"recipe": tree_digest([RECIPE]), "cpp": CPP_FLAGS, "redundant": self.redundant}

    def build(self, into: Path, _: Workshop) -> None:
        with tempfile.TemporaryDirectory() as scratch:
            source = Apt(Path(scratch, "apt")).source("u-boot", _directory(scratch, "source"))
            self._configure(source)
            run(["make", f"-j{(os.cpu_count() or 1) + 1}", "u-boot.bin"], cwd=source, env=CROSS)
            shutil.copyfile(source / "u-boot.bin", into / "u-boot.bin")
            archives = {file.name: digest(file) for file in sorted(source.parent.iterdir()) if file.is_file()}
            version = next(Path(name).stem for name in archives if name.endswith(".dsc")).partition("_")[2]
            locked = {"name": "u-boot", "version": version, "sha256": archives}
            (into / "source.lock.json").write_text(json.dumps(locked, indent=1) + "\n")

    def _configure(self, source: Path) -> None:
        shutil.copy(RECIPE / "i6300esb_wdt.c", source / "drivers/watchdog/")
        shutil.copy(RECIPE / "default.env", source / "board/emulation/qemu-arm/bootproof.env")
        run(["patch", "-p1", "-i", RECIPE / "board.patch"], cwd=source)
        fragment = (RECIPE / "fragment.config").read_text()
        if not self.redundant:
            kept = [line for line in fragment.splitlines(keepends=True) if "REDUND" not in line]
            fragment = "".join(kept) + SINGLE_COPY
        (source / "bootproof.config").write_text(fragment)
        run(
            [source / "scripts/kconfig/merge_config.sh", "-m", "-O", ".", DEFCONFIG, "bootproof.config"],
            cwd=source,
            env=CROSS,
        )
        run(["make", "olddefconfig"], cwd=source, env=CROSS)
        made = set((source / ".config").read_text().splitlines())
        lost = [line for line in fragment.splitlines() if line.startswith("CONFIG_") and line not in made]
        if lost:
            raise ValueError(f"U-Boot's configuration did not take {', '.join(lost)}.")


def _directory(parent: str, name: str) -> Path:
    path = Path(parent, name)
    path.mkdir()
    return path
