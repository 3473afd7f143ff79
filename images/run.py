# SPDX-License-Identifier: Apache-2.0
"""The one place where a program is run to its end.

Programs get a small, known environment and no standard input, succeed unless they say otherwise,
and a missing one is reported with the package that brings it.
"""

from __future__ import annotations

import errno
import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path

from images.errors import ImageError, ToolFailed

KEPT = ("PATH", "HOME", "TMPDIR", "USER", "LOGNAME", "http_proxy", "https_proxy", "no_proxy")
SBIN = "/usr/local/sbin:/usr/sbin:/sbin"
PACKAGE_OF = {
    "aarch64-linux-gnu-gcc": "gcc-aarch64-linux-gnu",
    "cpio": "cpio",
    "debugfs": "e2fsprogs",
    "depmod": "kmod",
    "dpkg-deb": "dpkg",
    "dpkg-source": "dpkg-dev",
    "e2fsck": "e2fsprogs",
    "fakeroot": "fakeroot",
    "make": "make",
    "mke2fs": "e2fsprogs",
    "mmdebstrap": "mmdebstrap",
    "patch": "patch",
    "qemu-img": "qemu-utils",
    "sfdisk": "fdisk",
}
SAID_NO_SPACE = "No space left on device"


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that programs are given: an allow-list, a fixed locale, and `extra`."""
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    env["PATH"] = f"{env.get('PATH', '/usr/bin:/bin')}:{SBIN}"
    return env | {"LC_ALL": "C.UTF-8", "TZ": "UTC"} | dict(extra or {})


def no_space(where: Path) -> ImageError:
    """The sentence for a full disk."""
    return ImageError(f"The disk that holds {where} is full.", "Free some space (see 'bootproof images clean').")


def run(
    argv: Sequence[str | Path],
    *,
    cwd: Path | None = None,
    env: Mapping[str, str] | None = None,
    stdin: Path | None = None,
    ok: Sequence[int] = (0,),
    timeout: float = 1800,
) -> str:
    """Run `argv` to its end and return what it printed (standard output and error together).

    Raises:
        ToolFailed: it ended with a status that is not in `ok`.
        ImageError: the program is missing, took longer than `timeout` seconds, or the disk is full.
    """
    words = [os.fspath(word) for word in argv]
    full_env = environment(env)
    if shutil.which(words[0], path=full_env["PATH"]) is None:
        package = PACKAGE_OF.get(words[0], words[0])
        raise ImageError(f"The program '{words[0]}' is missing.", f"Install it: apt-get install {package}.")
    try:
        with open(stdin or os.devnull, "rb") as source:  # noqa: PTH123 (the null device is a name, not a path of ours)
            done = subprocess.run(
                words,
                cwd=cwd,
                env=full_env,
                stdin=source,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                timeout=timeout,
                check=False,
            )
    except subprocess.TimeoutExpired as late:
        raise ImageError(f"'{words[0]}' did not end within {timeout:.0f} s.") from late
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_space(cwd or Path.cwd()) from error
        raise
    said = done.stdout.decode("utf-8", "replace")
    if done.returncode not in ok:
        if SAID_NO_SPACE in said:
            raise no_space(cwd or Path.cwd())
        raise ToolFailed(words, done.returncode, said)
    return said
