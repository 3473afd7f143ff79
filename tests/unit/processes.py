# SPDX-License-Identifier: Apache-2.0
"""The end of a process that need not be a child: a signal takes a moment, however sure it is."""

import os
import select

PATIENCE = 30.0


def ended(number: int, patience: float = PATIENCE) -> bool:
    """Whether it has come to its end, or does so before the patience does (seconds); collected or not."""
    try:
        handle = os.pidfd_open(number)
    except ProcessLookupError:
        return True
    try:
        return bool(select.select([handle], [], [], patience)[0])
    finally:
        os.close(handle)
