# SPDX-License-Identifier: Apache-2.0
"""Faults on a deployment as it is announced: another artifact, another name, a link that is no good."""

import json
from copy import deepcopy
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from starlette.types import Message

from server_stub.clock import now, stamp
from server_stub.domain import links
from server_stub.domain.artifacts import Artifact
from server_stub.lab.answers import Exchange, Tap, without
from server_stub.lab.faults import ExpiredLink, FastForward, Fault, MaliciousMirror, Replay
from server_stub.services import Services
from server_stub.storage import artifacts

# In a link's query: it leads to the malicious mirror.
MIRROR = "mirror=1"


@dataclass(frozen=True, slots=True)
class Linker:
    """Makes links for one device."""

    secret: bytes
    device: str

    def link(self, promised: str, artifact: str, until: datetime) -> str:
        """A link to an artifact, at the server that the promised link names."""
        parts = urlsplit(promised)
        token = links.sign(self.secret, artifact, self.device, until)
        path = f"{parts.path.rpartition('/')[0]}/{artifact}"
        return urlunsplit((parts.scheme, parts.netloc, path, f"token={token}", ""))


def rewritten(
    answer: dict[str, Any], fault: Fault, given: Artifact | None, linker: Linker, moment: datetime
) -> dict[str, Any]:
    """What the device is told instead; `given` is the artifact that a `replay` leads to."""
    told = deepcopy(answer)
    artifact = told["artifact"]
    source = artifact["source"]
    match fault:
        case ExpiredLink():
            until = moment - timedelta(seconds=1)
            told["artifact"]["source"] = {
                "uri": linker.link(source["uri"], artifact["id"], until),
                "expire": stamp(until),
            }
        case FastForward(name):
            artifact["artifact_name"] = name
        case MaliciousMirror():
            source["uri"] += f"&{MIRROR}"
        case Replay(other, under, types):
            assert given is not None
            artifact["id"] = other
            source["uri"] = linker.link(source["uri"], other, moment + links.LIFE)
            if under == "own":
                artifact["artifact_name"] = given.facts.name
            if types == "own":
                artifact["device_types_compatible"] = list(given.facts.device_types)
    return told


class PromiseTap(Tap):
    """Holds a deployment's announcement until it is whole, and sends another. Nothing else is changed."""

    def __init__(self, exchange: Exchange, fault: Fault, services: Services) -> None:
        super().__init__(exchange)
        self._fault = fault
        self._services = services
        self._start: Message | None = None
        self._held = bytearray()

    async def begin(self, start: Message) -> None:
        if start["status"] == 200:
            self._start = start
        else:
            await self.exchange.send(start)

    async def carry(self, body: bytes, more: bool) -> None:
        if self._start is None:
            await self.pass_on(body, more)
            return
        self._held += body
        if more:
            return
        told = await self._tell(bytes(self._held))
        kept = without(self._start["headers"], b"content-length")
        await self.exchange.send({**self._start, "headers": [*kept, (b"content-length", b"%d" % len(told))]})
        await self.pass_on(told, False)

    async def _tell(self, promised: bytes) -> bytes:
        given = None
        if isinstance(self._fault, Replay):
            given = await self._services.read(partial(artifacts.by_id, artifact=self._fault.artifact))
            if given is None:
                # It has been deleted since the rule was made: then nothing can be done.
                return promised
        self.exchange.firing.fire()
        linker = Linker(self._services.secret, self.exchange.scope["device"])
        return json.dumps(rewritten(json.loads(promised), self._fault, given, linker, now())).encode()
