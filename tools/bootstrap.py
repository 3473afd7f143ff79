#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Makes a checkout ready to use: Debian packages, then the virtual environment from requirements.lock.

    python3 tools/bootstrap.py            what building images and running boards needs
    python3 tools/bootstrap.py --tests    and what the tests of the tools compare with
    python3 tools/bootstrap.py --bench    and what the benches compare with

Needs only Python's standard library, does nothing when all is there, and takes up where it was interrupted.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import importlib.util
import os
import shutil
import subprocess
import sys
import sysconfig
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
ENVIRONMENT = ROOT / ".venv"
STAMP = ENVIRONMENT / "bootproof-ready"
LOCK_FILE = ROOT / "requirements.lock"
OLDEST = (3, 11)
HOST_PROBLEM, INTERRUPTED = 4, 130
BOARD = ("qemu-system-arm", "qemu-utils", "openssh-client")
IMAGES = (
    "bc", "bison", "cpio", "device-tree-compiler", "dpkg-dev", "e2fsprogs", "fakeroot", "fdisk", "flex", "gcc",
    "gcc-aarch64-linux-gnu", "kmod", "libc6-dev", "libssl-dev", "make", "mmdebstrap", "openssl", "patch",
)  # fmt: skip
WHEELS = ("libparted-dev", "pkg-config")  # pyparted is compiled here
TESTS = ("busybox-static", "chromium", "docker.io", "libubootenv-tool", "mender-artifact", "postgresql")
BENCH = ("curl", "nginx-light", "wrk")
MORE = {"--tests": TESTS, "--bench": BENCH}
APT = ("apt-get", "-o", "DPkg::Lock::Timeout=600", "-o", "APT::Get::Assume-Yes=true")


class Stop(Exception):
    """The set-up cannot go on; the text is the one sentence that says why and what to do."""


def main(words: Sequence[str]) -> int:
    if set(words) - set(MORE):
        print("Usage: bootstrap.py [--tests] [--bench]", file=sys.stderr)
        return 2
    try:
        with one_at_a_time():
            install_packages([package for word in words for package in MORE[word]])
            make_environment()
    except Stop as problem:
        print(problem, file=sys.stderr)
        return HOST_PROBLEM
    except KeyboardInterrupt:
        print("Interrupted; the next run takes up from here.", file=sys.stderr)
        return INTERRUPTED
    return 0


@contextlib.contextmanager
def one_at_a_time() -> Iterator[None]:
    """Two set-ups of one checkout at once would step on each other; the checkout's own directory is the lock."""
    if sys.version_info < OLDEST:
        raise Stop(f"Python 3.11 or newer is needed, not {sys.version.split()[0]}: use a newer python3.")
    handle = os.open(ROOT, os.O_RDONLY)
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("Waiting for another set-up of this checkout")
            fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


# -- Debian packages -------------------------------------------------------------------------------------------------


def install_packages(more: Sequence[str]) -> None:
    """Install what is missing, of what is always needed and of these.

    Raises:
        Stop: something is missing and may not be installed from here.
    """
    if shutil.which("dpkg-query") is None:
        raise Stop(
            "This machine is not Debian: the set-up installs Debian's packages, and the images are made of them. "
            "Use Debian 12, a container or a virtual machine with it."
        )
    missing = missing_packages([*BOARD, *IMAGES, *python_packages(), *more])
    if not missing:
        return
    command = [*become_root(missing), "env", "DEBIAN_FRONTEND=noninteractive", *APT]
    install = [*command, "install", "--no-install-recommends", *missing]
    if not lists_are_there():
        say("Reading Debian's package lists")
        call([*command, "update", "-q"], "Debian's package lists cannot be read")
    say(f"Installing {', '.join(missing)}")
    if run(install).returncode != 0:  # the lists may be older than what the archive still has
        say("Reading Debian's package lists again")
        call([*command, "update", "-q"], "Debian's package lists cannot be read")
        call(install, f"These Debian packages could not be installed: {' '.join(missing)}")


def python_packages() -> list[str]:
    """What Python itself needs to make the environment; nothing for a Python that brought it along."""
    wanted = []
    if not Path(sysconfig.get_path("include"), "Python.h").exists():
        wanted.append("python3-dev")
    if shutil.which("uv") is None and importlib.util.find_spec("ensurepip") is None:
        wanted.append("python3-venv")
    return [*WHEELS, *wanted]


def missing_packages(wanted: Sequence[str]) -> list[str]:
    """Those that are not installed, by name."""
    query = ["dpkg-query", "-W", "-f", "${Package} ${db:Status-Status}\\n", *wanted]
    there = {line.split()[0] for line in run(query).stdout.splitlines() if line.endswith(" installed")}
    return sorted(set(wanted) - there)


def become_root(missing: Sequence[str]) -> list[str]:
    """The words before a command that make root run it.

    Raises:
        Stop: root is out of reach.
    """
    if os.geteuid() == 0:
        return []
    if shutil.which("sudo") is not None:
        if run(["sudo", "-n", "true"]).returncode == 0:
            return ["sudo", "-n"]
        if sys.stdin.isatty() and sys.stderr.isatty():
            return ["sudo"]
    names = " ".join(missing)
    raise Stop(
        f"These Debian packages are missing and may not be installed from here: {', '.join(missing)}. "
        f"Have them installed: sudo apt-get install --no-install-recommends {names}"
    )


def lists_are_there() -> bool:
    """Whether apt has read any list of packages."""
    files = run(["apt-get", "indextargets", "--format", "$(FILENAME)", "Created-By: Packages"]).stdout.split()
    return any(Path(file).exists() for file in files)


# -- the virtual environment -----------------------------------------------------------------------------------------


def make_environment() -> None:
    """Make `.venv` what requirements.lock says.

    Raises:
        Stop: something could not be installed.
    """
    wanted = environment_stamp()
    if STAMP.exists() and STAMP.read_text() == wanted:
        return
    began = time.monotonic()
    uv = shutil.which("uv")
    say(f"Making the virtual environment .venv with {'uv' if uv else 'pip'}")
    # Without a stamp it is half-made; with that of another place or Python its programs would run somebody else's code.
    # With an old one it only has to be brought up to date.
    if not STAMP.exists() or STAMP.read_text().split("\n")[0] != wanted.split("\n")[0]:
        shutil.rmtree(ENVIRONMENT, ignore_errors=True)
    STAMP.unlink(missing_ok=True)
    failed = "The Python packages could not be installed"
    for command in uv_commands(uv) if uv else pip_commands():
        call(command, failed)
    STAMP.write_text(wanted)
    say(f"The virtual environment is ready after {time.monotonic() - began:.0f} s")


def environment_stamp() -> str:
    """What the environment depends on, a line each: its place and its Python; the packages and our metadata."""
    where = f"{base_python()} {sys.version} {ROOT}".encode()
    what = b"".join(path.read_bytes() for path in (LOCK_FILE, ROOT / "pyproject.toml"))
    return "\n".join(hashlib.sha256(part).hexdigest() for part in (where, what))


def base_python() -> str:
    """This Python, or the one below it if it is a virtual environment's: that one might be about to be replaced."""
    return str(getattr(sys, "_base_executable", sys.executable))


def uv_commands(uv: str) -> Iterator[list[str]]:
    python = str(ENVIRONMENT / "bin/python")
    if not Path(python).exists():
        yield [uv, "venv", "-q", "--python", base_python(), str(ENVIRONMENT)]
    yield [uv, "pip", "sync", "-q", "--require-hashes", "--python", python, str(LOCK_FILE)]
    yield [uv, "pip", "install", "-q", "--no-deps", "--python", python, "-e", str(ROOT)]


def pip_commands() -> Iterator[list[str]]:
    python = str(ENVIRONMENT / "bin/python")
    if not Path(python).exists():
        yield [base_python(), "-m", "venv", str(ENVIRONMENT)]
    pip = [python, "-m", "pip", "--disable-pip-version-check", "install", "-q"]
    yield [*pip, "--require-hashes", "-r", str(LOCK_FILE)]
    yield [*pip, "--no-deps", "-e", str(ROOT)]


# -- programs --------------------------------------------------------------------------------------------------------


def call(command: Sequence[str], failed: str) -> None:
    """Run a command that has to succeed; what it said is shown only if it did not."""
    done = run(command)
    if done.returncode != 0:
        tail = "\n".join(done.stdout.strip().splitlines()[-20:])
        print(tail, file=sys.stderr)
        raise Stop(f"{failed}: see above.")


def run(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    # An activated environment, or a Python path, of somebody else must not lead the installers astray.
    env = {name: value for name, value in os.environ.items() if name not in ("VIRTUAL_ENV", "PYTHONPATH", "PYTHONHOME")}
    return subprocess.run(
        command,
        cwd=ROOT,
        env=env | {"LC_ALL": "C.UTF-8"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        check=False,
    )


def say(text: str) -> None:
    print(f"bootproof: {text}", file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
