# SPDX-License-Identifier: Apache-2.0
"""One program at a time works in a run folder."""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from harness.errors import UsageError


@contextlib.contextmanager
def alone(folder: Path) -> Iterator[None]:
    """Work in the folder, which is there, as the only one; the lock ends with this program, however it ends.

    Raises:
        UsageError: somebody else does.
    """
    try:
        handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError as error:
        raise UsageError(f"There is no folder {folder}.", "Name a run folder of 'bootproof explore'.") from error
    try:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"Another bootproof works in {folder} at this moment.", "Wait until it is done.") from None
        yield
    finally:
        os.close(handle)
