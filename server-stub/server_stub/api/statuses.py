# SPDX-License-Identifier: Apache-2.0
"""The words for a device's status in a deployment: what a device may say, and what a list may be narrowed to."""

from collections.abc import Mapping, Sequence
from typing import Annotated

from pydantic import AfterValidator, WithJsonSchema

from server_stub.domain.deployments import FINISHED, PAUSED, REPORTABLE, Status

_GROUPS: Mapping[str, frozenset[Status]] = {
    "finished": FINISHED,
    "pause": PAUSED,
    "inprogress": frozenset(Status) - FINISHED - PAUSED - {Status.PENDING},
    "active": frozenset(Status) - FINISHED,
}


def statuses_of(word: str | None) -> Sequence[Status]:
    """The statuses that a filter's word stands for; none for any."""
    if not word:
        return ()
    return tuple(_GROUPS[word]) if word in _GROUPS else (Status(word),)


def _reportable(status: Status) -> Status:
    if status not in REPORTABLE:
        raise ValueError("no device can say this")
    return status


def _filter_word(word: str) -> str:
    return word if word in _GROUPS else Status(word)


ReportedStatus = Annotated[
    Status, AfterValidator(_reportable), WithJsonSchema({"type": "string", "enum": sorted(REPORTABLE)})
]
FilterWord = Annotated[
    str, AfterValidator(_filter_word), WithJsonSchema({"type": "string", "enum": sorted({*_GROUPS, *Status})})
]
