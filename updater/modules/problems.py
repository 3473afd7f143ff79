# SPDX-License-Identifier: Apache-2.0
"""What a module says when it cannot go on: one sentence, for the log of the deployment."""

from __future__ import annotations

import errno
import os


class ModuleError(Exception):
    """The state has failed; the message is one sentence."""


def sentence(error: OSError) -> str:
    """What the system refused, and where."""
    place = _place(error)
    if error.errno == errno.EROFS:
        return f"{place} is on a read-only file system and cannot be changed."
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"There is no room left for {place} on its file system."
    return f"{place}: {error.strerror or error}."


def _place(error: OSError) -> str:
    for name in (error.filename2, error.filename):  # where it should have gone says more than where it came from
        if name is not None:
            return os.fsdecode(name) if isinstance(name, bytes | str) else str(name)
    return "A file"
