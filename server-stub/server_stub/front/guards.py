# SPDX-License-Identifier: Apache-2.0
"""Who asks too often. Counted in this process alone: several servers each allow as much."""

import time

from limits import RateLimitItemPerMinute
from limits.storage import MemoryStorage
from limits.strategies import FixedWindowRateLimiter

from server_stub.domain.limits import Limits

MINUTE = 60
TOO_OFTEN = "The device asks too often: come back in a while."


class Guards:
    """Counters of a minute, by device or address."""

    def __init__(self, limits: Limits) -> None:
        self._counter = FixedWindowRateLimiter(MemoryStorage())
        self._logins = RateLimitItemPerMinute(limits.logins, namespace="logins")
        self._introductions = RateLimitItemPerMinute(limits.introductions, namespace="introductions")
        self._device_requests = limits.device_requests
        self._minute = 0
        self._asked: dict[str, int] = {}

    def may_try(self, address: str) -> bool:
        """Whether one more log-in may fail from this address."""
        return self._counter.test(self._logins, address)

    def failed(self, address: str) -> None:
        self._counter.hit(self._logins, address)

    def may_introduce(self, address: str) -> bool:
        return self._counter.hit(self._introductions, address)

    def may_ask(self, device: str) -> bool:
        """Counted by hand: this is asked for every poll, and the library takes longer than all the rest of one."""
        minute = int(time.monotonic() // MINUTE)
        if minute != self._minute:
            self._minute, self._asked = minute, {}
        number = self._asked[device] = self._asked.get(device, 0) + 1
        return number <= self._device_requests
