# SPDX-License-Identifier: Apache-2.0
"""One daemon on a device, and its process's number, so that others can tell it what to do."""

from __future__ import annotations

import fcntl
import logging
import os
from pathlib import Path

from updater.errors import UpdaterError

PID_FILE = "daemon.pid"
log = logging.getLogger(__name__)


def hold_pid(directory: Path) -> int:
    """Write this process's number where others find it, and hold it as long as the process lives.

    Raises:
        UpdaterError: another daemon is running.
    """
    try:
        fd = os.open(directory / PID_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        os.fchmod(fd, 0o600)  # whoever can open it can lock it
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        os.ftruncate(fd, 0)  # the number of an earlier life is somebody else's by now
        os.pwrite(fd, f"{os.getpid():>10}\n".encode(), 0)
    except BlockingIOError as error:
        raise UpdaterError("The daemon is already running on this device.") from error
    except OSError as error:  # nobody can call it then, and that is all
        log.warning("%s cannot be written: %s", directory / PID_FILE, error.strerror)
        return -1
    return fd


def running_daemon(directory: Path) -> int:
    """The number of the daemon's process.

    Raises:
        UpdaterError: it is not running.
    """
    try:
        fd = os.open(directory / PID_FILE, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise UpdaterError("The daemon is not running on this device; start it first.") from error
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        number = os.pread(fd, 32, 0).strip()
        if number:
            return int(number)
    finally:
        os.close(fd)
    raise UpdaterError("The daemon is not running on this device; start it first.")
