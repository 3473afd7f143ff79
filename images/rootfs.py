# SPDX-License-Identifier: Apache-2.0
"""The root file system all versions are derived from: Debian's programs, our init, the updater.

It is read-only on the board; every directory that something writes to is a link to /data or to memory.
"""

from __future__ import annotations

import shutil
import tarfile
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

from images import ext4
from images.bytecode import GUEST_VERSION, compile_tree
from images.kernel import Kernel
from images.layout import MIB
from images.packages import Packages
from images.run import run
from images.stage import HERE, Stage, Workshop, tree_digest
from updater.modules import launcher

OVERLAY = HERE / "overlay"
UPDATER = HERE.parent / "updater"
INITIAL_ENVIRONMENT = HERE / "boards/virt_a64/uboot/default.env"  # libubootenv's, for when no copy is whole
MODULES = "usr/share/mender/modules/v3"
MODULES_HERE = ("single-file", "directory", "script", "deb")  # the board has no container engine
SITE = "usr/lib/python3/dist-packages"
STDLIB = f"usr/lib/python{GUEST_VERSION}"
IMAGE_BYTES = 80 * MIB
UUID = "b007b007-0000-4000-8000-000000000001"
# Nothing on the board needs these; paths from the root, with wildcards.
PRUNED = (
    "boot",
    *(
        f"{place}/{name}"
        for place, names in {
            "usr/share": "doc man locale info lintian bug perl5 dpkg debconf python3 polkit-1 common-licenses",
            "usr/bin": "dpkg-div* dpkg-m* dpkg-q* dpkg-r* dpkg-st* dpkg-t* openssl update-alternatives pdb3* pydoc3* "
            "debconf* py3* pygettext* c_rehash",
            "usr/sbin": "dpkg*",
            "usr/lib": "dpkg systemd",
            "lib": "systemd",
            "etc": "alternatives apt cron* debconf.conf default dpkg fstab init.d logrotate.d ssl",
            "usr/lib/aarch64-linux-gnu": "gconv libdb-* libkrb5* libgssapi* libk5crypto* libtirpc* libnsl*",
            STDLIB: "test idlelib lib2to3 tkinter ensurepip pydoc_data distutils unittest turtledemo venv config-* xml "
            "wsgiref curses asyncio",
            f"{STDLIB}/lib-dynload": "_test* nis* _codecs_* _crypt*",
        }.items()
        for name in names.split()
    ),
)
DIRECTORIES = ("data", "dev", "proc", "run", "sys", "tmp", "boot", "lib/modules", "etc/ssl/certs", "var/lib", "sbin")
LINKS = {
    "etc/dropbear": "/data/dropbear",
    "etc/mtab": "/proc/mounts",
    "etc/resolv.conf": "/run/resolv.conf",
    "root/.ssh": "/data/ssh",
    "usr/bin/mender": "mender-update",  # its name until version 3
    "var/lib/dpkg": "/data/dpkg",
    "var/lib/mender": "/data/mender",
    "var/lock": "/run/lock",
    "var/log": "/tmp",
    "var/run": "/run",
    "var/tmp": "/tmp",
}
APPLETS = {
    "bin": "sh ash cat chmod chown cp date dd df dmesg echo false grep gunzip gzip hostname kill ln ls mkdir mknod "
    "mktemp more mount mv netstat ping ps pwd rm rmdir sed sleep stat stty sync tar touch true umount uname usleep "
    "vi zcat",
    "sbin": "fdisk findfs halt ifconfig init insmod ip losetup lsmod modprobe poweroff reboot route rmmod switch_root "
    "sysctl udhcpc watchdog",
    "usr/bin": "awk basename blockdev clear cmp cut diff dirname du env expr find free fuser head hexdump id killall "
    "less md5sum nohup nslookup od pgrep pkill printf readlink realpath seq setsid sha256sum sort strings tail tee "
    "test time timeout top tr tty uniq uptime wc wget which whoami xargs xxd yes",
    "usr/sbin": "rdate",
}


@dataclass(frozen=True)
class Rootfs(Stage):
    """Makes `rootfs.ext4`, from which every version is derived."""

    packages: Packages = Packages()
    kernel: Kernel = Kernel()
    name: ClassVar[str] = "rootfs"
    says: ClassVar[str] = "Composing the root file system"
    code: ClassVar[tuple[str, ...]] = ("bytecode.py", "ext4.py")

    def inputs(self) -> dict[str, Any]:
        return {
            "packages": self.packages.key, "kernel": self.kernel.key, "overlay": tree_digest([OVERLAY]),
            "updater": tree_digest([UPDATER]),
            "environment": INITIAL_ENVIRONMENT.read_text(), "pruned": PRUNED, "links": LINKS, "applets": APPLETS
        }  # fmt: skip

    def build(self, into: Path, workshop: Workshop) -> None:
        packages, kernel = workshop.get(self.packages), workshop.get(self.kernel)
        with tempfile.TemporaryDirectory() as scratch:
            tree = Path(scratch, "tree")
            unpack(packages / "root.tar", tree)
            compose(tree, kernel)
            ext4.make(tree, into / "rootfs.ext4", size=IMAGE_BYTES, uuid=UUID, label="rootfs", journal=False)


def unpack(packages: Path, tree: Path) -> None:
    """Unpack all but devices; everything belongs to whoever builds here, and to root once it is in the image.

    The Python that Debian 12 comes with, 3.11.2, knows no filters; later ones would apply one that nobody named.
    """
    with tarfile.open(packages) as tar:
        tar.extraction_filter = getattr(tarfile, "fully_trusted_filter", None)
        members = [member for member in tar if not member.isdev()]
        for member in members:
            member.mode &= 0o755
        tar.extractall(tree, members)


def compose(tree: Path, kernel: Path) -> None:
    """Turn a tree of unpacked packages into the board's root file system, in place."""
    for pattern in PRUNED:
        for found in tree.glob(pattern):
            shutil.rmtree(found) if found.is_dir() and not found.is_symlink() else found.unlink()
    for name in DIRECTORIES:
        (tree / name).mkdir(parents=True, exist_ok=True)
    _certificates(tree)
    _busybox(tree)
    shutil.copytree(OVERLAY, tree, dirs_exist_ok=True, copy_function=shutil.copy)
    shutil.copyfile(INITIAL_ENVIRONMENT, tree / "etc/u-boot-initial-env")
    shutil.copytree(kernel / "modules", tree / "lib/modules", dirs_exist_ok=True)
    for file in ("vmlinuz", "initrd.img"):
        shutil.copyfile(kernel / file, tree / "boot" / file)
    for python in (STDLIB, SITE):
        compile_tree(tree / python, seen_as=f"/{python}", keep_sources=False)
    left_out = shutil.ignore_patterns("__pycache__", "artifacttool")  # a board writes no artifacts
    shutil.copytree(UPDATER, tree / SITE / "updater", ignore=left_out)
    compile_tree(tree / SITE / "updater", seen_as=f"/{SITE}/updater", keep_sources=True)
    for link, target in LINKS.items():
        _link(tree / link, target)
    _update_modules(tree)
    _normalise(tree)


def _update_modules(tree: Path) -> None:
    (tree / MODULES).mkdir(parents=True)
    for name in MODULES_HERE:
        program = tree / MODULES / name
        program.write_text(launcher(name, "/usr/bin/python3 -S"))  # as mender-update starts, and for its reasons
        program.chmod(0o755)


def _certificates(tree: Path) -> None:
    """What update-ca-certificates would make, which cannot be run here.

    Each authority has a link under its hash and is loaded when it is needed; loading a bundle of all of them costs
    the board more than a second at every start.
    """
    certs = tree / "etc/ssl/certs"
    (tree / "usr/lib/ssl/cert.pem").unlink(missing_ok=True)
    for authority in sorted((tree / "usr/share/ca-certificates/mozilla").glob("*.crt")):
        shutil.copyfile(authority, certs / f"{authority.stem}.pem")
    shutil.rmtree(tree / "usr/share/ca-certificates")
    run(["openssl", "rehash", certs])


def _busybox(tree: Path) -> None:
    for directory, names in APPLETS.items():
        for name in names.split():
            if not (tree / directory / name).exists():
                _link(tree / directory / name, "/bin/busybox")


def _link(path: Path, target: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_symlink() or path.is_file():
        path.unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    path.symlink_to(target)


def _normalise(tree: Path) -> None:
    """Only names, contents and whether a file may be run are to matter."""
    for path in _everything(tree):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)
    (tree / "etc/shadow").chmod(0o600)


def _everything(tree: Path) -> Iterable[Path]:
    return [tree, *sorted(tree.rglob("*"))]
