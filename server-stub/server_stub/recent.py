# SPDX-License-Identifier: Apache-2.0
"""What a process remembers of the devices that asked it lately, so that most polls need no database.

Everything here carries the revision it was read at and counts only while that is current (storage.revisions). The
number of devices is bounded: a larger fleet costs no more memory, only more lookups.
"""

from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Generic, TypeVar

from server_stub.storage.revisions import Topic

Key = TypeVar("Key")
Value = TypeVar("Value")
MOST_DEVICES = 20_000
# Check-ins written down together: reports wait for no more of them.
MOST_NOTED = 1000
# What another process writes about one device is noticed after this, in seconds.
LONGEST_IDLE = 30.0


class Bounded(Generic[Key, Value]):
    """The values that were put or asked for last."""

    def __init__(self, most: int) -> None:
        self._kept: OrderedDict[Key, Value] = OrderedDict()
        self._most = most

    def get(self, key: Key) -> Value | None:
        return self._kept.get(key)

    def put(self, key: Key, value: Value) -> None:
        self._kept[key] = value
        self._kept.move_to_end(key)
        if len(self._kept) > self._most:
            self._kept.popitem(last=False)

    def drop(self, key: Key) -> None:
        self._kept.pop(key, None)


@dataclass(frozen=True, slots=True)
class Session:
    """Whose an Authorization header is, until when (seconds since 1970)."""

    device: str
    expires: float
    revision: int


@dataclass(frozen=True, slots=True)
class Idle:
    """That there is nothing for a device before a moment (seconds since 1970)."""

    until: float
    revision: int


class Recent:
    def __init__(self, revisions: Mapping[Topic, int]) -> None:
        self.revisions = dict(revisions)
        self._sessions: Bounded[str, Session] = Bounded(MOST_DEVICES)
        self._idle: Bounded[str, Idle] = Bounded(MOST_DEVICES)
        self._check_ins: dict[str, datetime] = {}
        self._none_open_at = -1

    def learn(self, new: Mapping[Topic, int]) -> set[Topic]:
        """Take newer revisions; the topics that have one."""
        newer = {topic for topic, number in new.items() if number > self.revisions.get(topic, -1)}
        for topic in newer:
            self.revisions[topic] = new[topic]
        return newer

    def device_of(self, authorization: str, now: float) -> str | None:
        session = self._sessions.get(authorization)
        if session is None or session.revision != self.revisions[Topic.ACCESS] or session.expires <= now:
            return None
        return session.device

    def remember(self, authorization: str, session: Session) -> None:
        self._sessions.put(authorization, session)

    def may_have_open(self, revision: int) -> bool:
        """Whether there may be deployments that devices come to by themselves."""
        return self._none_open_at != revision

    def note_none_open(self, revision: int) -> None:
        self._none_open_at = revision

    def is_idle(self, device: str, now: float) -> bool:
        idle = self._idle.get(device)
        return idle is not None and idle.revision == self.revisions[Topic.WORK] and now < idle.until

    def rest(self, device: str, idle: Idle) -> None:
        self._idle.put(device, idle)

    def wake(self, device: str) -> None:
        """What the device has said of itself may change what is for it."""
        self._idle.drop(device)

    def check_in(self, device: str, moment: datetime) -> None:
        self._check_ins[device] = moment

    def checked_in(self, device: str) -> datetime | None:
        """When the device last asked this process, if that is not written down yet."""
        return self._check_ins.get(device)

    def take_check_ins(self) -> list[dict[str, datetime]]:
        """What is to be written down, in portions; from now on somebody else's to remember until it is."""
        taken, self._check_ins = iter(self._check_ins.items()), {}
        return [dict(one) for one in iter(lambda: list(islice(taken, MOST_NOTED)), [])]

    def put_back(self, check_ins: Mapping[str, datetime]) -> None:
        self._check_ins = {**check_ins, **self._check_ins}
