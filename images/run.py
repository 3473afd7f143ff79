# SPDX-License-Identifier: Apache-2.0
"""The one place where a program is run to its end.

Programs get a small, known environment and no standard input, succeed unless they say otherwise,
and a missing one is reported with the package that brings it.  Each has a session of its own, so that an
interrupt ends it together with everything it started.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO

from images.errors import ImageError, ToolFailed, ToolLate

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
END_SECONDS = 5.0  # for a program to clean up after itself

Child = subprocess.Popen[bytes]
_guard = threading.Lock()
_children: set[Child] = set()
_ending = False


def environment(extra: Mapping[str, str] | None = None) -> dict[str, str]:
    """The environment that programs are given: an allow-list, a fixed locale, and `extra`."""
    env = {name: os.environ[name] for name in KEPT if name in os.environ}
    env["PATH"] = f"{env.get('PATH', '/usr/bin:/bin')}:{SBIN}"
    return env | {"LC_ALL": "C.UTF-8", "TZ": "UTC"} | dict(extra or {})


def no_space(where: Path) -> ImageError:
    """The sentence for a full disk: the one of `where`, unless it is the one for scratch files that is fuller."""
    scratch = Path(tempfile.gettempdir())
    if where.stat().st_dev != scratch.stat().st_dev and shutil.disk_usage(scratch).free < shutil.disk_usage(where).free:
        return ImageError(f"The disk that holds {scratch} is full.", "Free some space, or set TMPDIR to another place.")
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
        ToolLate: it took longer than `timeout` seconds.
        ImageError: the program is missing, or the disk is full.
    """
    words = [os.fspath(word) for word in argv]
    full_env = environment(env)
    if shutil.which(words[0], path=full_env["PATH"]) is None:
        package = PACKAGE_OF.get(words[0], words[0])
        raise ImageError(f"The program '{words[0]}' is missing.", f"Install it: apt-get install {package}.")
    try:
        with open(stdin or os.devnull, "rb") as source:  # noqa: PTH123 (the null device is a name, not a path of ours)
            child = _started(words, cwd, full_env, source)
        output = _finished(child, timeout)
    except subprocess.TimeoutExpired as late:
        raise ToolLate(f"'{words[0]}' did not end within {timeout:.0f} s.") from late
    except OSError as error:
        if error.errno == errno.ENOSPC:
            raise no_space(cwd or Path.cwd()) from error
        raise
    said = output.decode("utf-8", "replace")
    if child.returncode not in ok:
        if SAID_NO_SPACE in said:
            raise no_space(cwd or Path.cwd())
        raise ToolFailed(words, child.returncode, said)
    return said


@contextlib.contextmanager
def ending_all() -> Iterator[None]:
    """End every program that runs now, in whatever thread; until this is left no other one starts."""
    global _ending
    with _guard:
        _ending = True
    try:
        late = time.monotonic() + END_SECONDS
        for number in (signal.SIGTERM, signal.SIGKILL):
            for child in list(_children):
                _signal(child, number)
            while _children and time.monotonic() < late:
                time.sleep(0.01)
        yield
    finally:
        with _guard:
            _ending = False


def _started(words: list[str], cwd: Path | None, env: dict[str, str], source: IO[bytes]) -> Child:
    with _guard:
        if _ending:
            raise ImageError("The build was stopped.")
        child = subprocess.Popen(
            words,
            cwd=cwd,
            env=env,
            stdin=source,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        _children.add(child)
        return child


def _finished(child: Child, timeout: float) -> bytes:
    """What a child printed until its end.  If that is not waited for, the child and all it started are ended."""
    try:
        return child.communicate(timeout=timeout)[0]
    except BaseException:
        _signal(child, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            child.wait(END_SECONDS)
        raise
    finally:
        if child.returncode != 0:
            _signal(child, signal.SIGKILL)
        child.wait()
        assert child.stdout is not None
        child.stdout.close()
        with _guard:
            _children.discard(child)


def _signal(child: Child, number: signal.Signals) -> None:
    """Send a signal to a child's whole group, which outlives the child itself if others are in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(child.pid, number)
