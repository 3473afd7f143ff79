# SPDX-License-Identifier: Apache-2.0
"""What a laboratory's server does wrong on request, as the rules that it is given; its API says what each means."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any


@dataclass(frozen=True)
class ServerFault:
    """One rule: what goes wrong, where (`next`, `download`, ...; everywhere if not said), and how often.

    `times` None means for as long as the rule is there; the first `skip` requests pass.
    """

    kind: str
    values: Mapping[str, Any]
    where: str = "any"
    times: int | None = None
    skip: int = 0

    def at(self, where: str) -> ServerFault:
        return replace(self, where=where)

    def twice(self) -> ServerFault:
        return replace(self, times=2)

    def once(self) -> ServerFault:
        return replace(self, times=1)

    def after(self, requests: int) -> ServerFault:
        """So many requests pass before it."""
        return replace(self, skip=requests)

    def as_rule(self) -> dict[str, Any]:
        fault = {"kind": self.kind, **self.values}
        return {"fault": fault, "where": self.where, "times": self.times, "skip": self.skip}

    def __str__(self) -> str:
        said = [f"{name} {value}" for name, value in self.values.items()]
        return " ".join([self.kind.replace("_", " "), *said, "" if self.where == "any" else f"at {self.where}"]).strip()


def fault(kind: str, **values: Any) -> ServerFault:
    """A fault by its name and its own values, as the server's API has them: `fault("cut", after=5)`."""
    return ServerFault(kind, values)
