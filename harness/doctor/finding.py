# SPDX-License-Identifier: Apache-2.0
"""What a probe comes back with."""

from __future__ import annotations

import enum
from collections.abc import Callable
from dataclasses import dataclass


class State(enum.StrEnum):
    """How it stands with one thing."""

    READY = "ready"
    ABSENT = "absent"  # and nothing needs it
    MISSING = "missing"  # and boards cannot run, or images cannot be built, without it
    NOT_PROBED = "not probed"


@dataclass(frozen=True)
class Finding:
    """One thing this machine has or lacks, and what to do about it."""

    name: str
    state: State
    says: str
    next_step: str = ""


Probe = Callable[[], Finding]
