# SPDX-License-Identifier: Apache-2.0
"""Coroutines in tests that are none themselves."""

import asyncio
from collections.abc import Coroutine
from contextlib import closing
from typing import Any, TypeVar

Result = TypeVar("Result")


def run(story: Coroutine[Any, Any, Result]) -> Result:
    """In a loop of its own. asyncio.run would let go of the loop that QEMU's monitor has made for this thread."""
    with closing(asyncio.new_event_loop()) as loop:
        return loop.run_until_complete(story)
