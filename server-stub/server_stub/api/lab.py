# SPDX-License-Identifier: Apache-2.0
"""The laboratory: what devices asked, and what is to go wrong. There only if the server was started for one."""

from functools import partial
from typing import Annotated, Any

from fastapi import Body, Query

from server_stub.api.kit import Admin, Model, ServicesDep, router
from server_stub.errors import Malformed
from server_stub.lab.faults import Certificate, Rule, artifacts_of, flaw
from server_stub.lab.laboratory import Laboratory
from server_stub.services import Services
from server_stub.storage import artifacts

MOST_RULES = 100
routes = router("/api/management/v1/lab", "laboratory", 401, 403)


class JournalEntry(Model):
    """A request of a device, or (method TLS) a handshake with a wrong certificate; `fault` is what went wrong."""

    seq: int
    time: str
    device: str | None
    method: str
    path: str
    range: str | None
    headers: dict[str, str]
    status: int | None
    bytes: int
    answer: dict[str, str]
    fault: str | None


class RuleInForce(Model):
    """A rule, how many requests came to it, and on how many it has had its effect."""

    rule: Rule
    met: int
    fired: int


@routes.get("/journal", response_model=list[JournalEntry])
async def journal(services: ServicesDep, _: Admin, after: Annotated[int, Query(ge=0)] = 0) -> Any:
    """What devices asked, in order."""
    return _laboratory(services).journal.after(after)


@routes.get("/faults", response_model=list[RuleInForce])
async def show(services: ServicesDep, _: Admin) -> Any:
    """The rules in force, in the order in which they are tried."""
    return [RuleInForce(rule=one.rule, met=one.met, fired=one.fired) for one in _laboratory(services).rules]


@routes.put("/faults", status_code=204)
async def replace(services: ServicesDep, _: Admin, told: Annotated[list[Rule], Body(max_length=MOST_RULES)]) -> None:
    """These rules, and no others."""
    await _check(services, *told)
    _laboratory(services).clear()
    _laboratory(services).append(*told)


@routes.post("/faults", status_code=204)
async def append(services: ServicesDep, _: Admin, told: Rule) -> None:
    """One more rule, behind the others."""
    await _check(services, told)
    if len(_laboratory(services).rules) >= MOST_RULES:
        raise Malformed(f"There may be {MOST_RULES} rules at most: delete them first.")
    _laboratory(services).append(told)


@routes.delete("/faults", status_code=204)
async def heal(services: ServicesDep, _: Admin) -> None:
    """Nothing goes wrong any more."""
    _laboratory(services).clear()


def _laboratory(services: Services) -> Laboratory:
    assert services.laboratory is not None
    return services.laboratory


async def _check(services: Services, *rules: Rule) -> None:
    """Refuse what could never be carried out, so that nobody waits for it."""
    for rule in rules:
        if said := flaw(rule):
            raise Malformed(said)
        if isinstance(rule.fault, Certificate) and not _laboratory(services).certificates:
            raise Malformed("There are no wrong certificates: the server was started --plain or with the owner's own.")
    for artifact, kind in artifacts_of(rules).items():
        if await services.read(partial(artifacts.size_of, artifact=artifact)) is None:
            raise Malformed(f"The fault {kind} needs an artifact that is here, and {artifact!r} is not.")
