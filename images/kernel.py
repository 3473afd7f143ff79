# SPDX-License-Identifier: Apache-2.0
"""Debian's kernel, the few modules a board needs, and the initial RAM file system that finds the slot."""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images.ext4 import EPOCH
from images.packages import Packages
from images.run import run
from images.stage import HERE, Stage, Workshop, tree_digest

INITRAMFS = HERE / "initramfs"
# What the slot is found with, and the watchdog as early as there can be one.
EARLY = ("i6300esb", "crc32c_generic", "virtio_pci", "virtio_blk", "ext4")
# What the slot brings up itself.
LATE = ("sdhci-pci", "virtio_net")


@dataclass(frozen=True)
class Kernel(Stage):
    """Makes `vmlinuz`, `initrd.img`, `initrd-panics.img` (its init ends at once) and `modules/`."""

    packages: Packages = Packages()
    name: ClassVar[str] = "kernel"
    says: ClassVar[str] = "Taking the kernel, its modules and our initramfs"
    code: ClassVar[tuple[str, ...]] = ("ext4.py",)

    def inputs(self) -> dict[str, Any]:
        return {
            "packages": self.packages.key, "initramfs": tree_digest([INITRAMFS]),
            "early": EARLY, "late": LATE
        }  # fmt: skip

    def build(self, into: Path, workshop: Workshop) -> None:
        packages = workshop.get(self.packages)
        with tempfile.TemporaryDirectory() as scratch:
            root = Path(scratch, "kernel")
            run(["dpkg-deb", "-x", packages / "kernel.deb", root])
            release = next((root / "lib/modules").iterdir()).name
            shutil.copyfile(root / f"boot/vmlinuz-{release}", into / "vmlinuz")
            run(["depmod", "-b", root, release])
            modules = root / "lib/modules" / release
            needs = _needs((modules / "modules.dep").read_text())
            _copy_modules(modules, needs, LATE, into / "modules")
            _initramfs(modules, needs, packages / "root.tar", Path(scratch, "initramfs"), into)


def _needs(modules_dep: str) -> dict[str, list[str]]:
    """For each module's name the files to load, in order, itself last."""
    table = {}
    for line in modules_dep.splitlines():
        path, _, others = line.partition(":")
        # modules.dep lists what is needed with the most basic last.
        table[_module_name(path)] = [*reversed(others.split()), path]
    return table


def _module_name(path: str) -> str:
    return Path(path).name.split(".")[0].replace("-", "_")


def _copy_modules(source: Path, needs: dict[str, list[str]], names: Iterable[str], into: Path) -> None:
    """Copy modules with all they need, and write `order`: the file names in the order to load them."""
    into.mkdir(parents=True)
    order: list[str] = []
    for name in names:
        for file in needs[name.replace("-", "_")]:
            if Path(file).name not in order:
                shutil.copyfile(source / file, into / Path(file).name)
                order.append(Path(file).name)
    (into / "order").write_text("\n".join(order) + "\n")


def _initramfs(modules: Path, needs: dict[str, list[str]], root_tar: Path, work: Path, into: Path) -> None:
    for directory in ("bin", "dev", "proc", "sys", "root"):
        (work / directory).mkdir(parents=True)
    _copy_modules(modules, needs, EARLY, work / "modules")
    with tarfile.open(root_tar) as tar:
        busybox = tar.extractfile("./bin/busybox")
        assert busybox is not None
        (work / "bin/busybox").write_bytes(busybox.read())
    (work / "bin/busybox").chmod(0o755)
    (work / "bin/sh").symlink_to("busybox")
    for init, image in (("init", "initrd.img"), ("init-panics", "initrd-panics.img")):
        shutil.copyfile(INITRAMFS / init, work / "init")
        (work / "init").chmod(0o755)
        _pack(work, into / image)


def _pack(tree: Path, image: Path) -> None:
    """Pack a tree as a newc archive that depends on names and contents alone."""
    names = image.with_suffix(".names")
    listed = sorted(str(path.relative_to(tree)) for path in tree.rglob("*"))
    names.write_text("\n".join(listed) + "\n")
    run(["touch", "-h", "-d", f"@{EPOCH}", *listed], cwd=tree)
    run(["cpio", "--quiet", "--reproducible", "-o", "-H", "newc", "-R", "0:0", "-F", image], cwd=tree, stdin=names)
    names.unlink()
