# SPDX-License-Identifier: Apache-2.0
"""The rules of a laboratory: what goes wrong on request, where and how often, and which rule a request meets.

A rule is data, and so is what is left of it: nothing here sends a byte. Each fault's docstring says what a device sees.
The attacks are those of the TUF specification, by its names; `made_of` says which of the plain faults each comes to.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Any, ClassVar, Literal

from pydantic import ConfigDict, Field, StringConstraints

LONGEST = 86_400.0
FARTHEST = 100 * 365 * 86_400
SURPLUS = 1 << 20


class Place(StrEnum):
    """What is asked for. `any` is every place at which the fault is possible."""

    ANY = "any"
    AUTH = "auth"
    NEXT = "next"
    DOWNLOAD = "download"
    STATUS = "status"
    LOG = "log"
    INVENTORY = "inventory"
    CONTROL = "control"
    HANDSHAKE = "handshake"


REQUESTS = frozenset(Place) - {Place.ANY, Place.HANDSHAKE}
ONLY_NEXT = frozenset({Place.NEXT})
ONLY_DOWNLOAD = frozenset({Place.DOWNLOAD})

Bytes = Annotated[int, Field(strict=True, ge=0, le=10**15)]
Seconds = Annotated[float, Field(strict=True, gt=0, le=LONGEST, allow_inf_nan=False)]
ArtifactId = Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=64)]
HeaderName = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9-]{1,100}$")]
HeaderValue = Annotated[str, StringConstraints(pattern=r"^[ -~]{0,1000}$")]


def _require_kind(schema: dict[str, Any]) -> None:
    """The kind has a value of its own in the code, and must be said in JSON."""
    schema["required"] = sorted({"kind", *schema.get("required", ())})


class _Fault:
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid", json_schema_extra=_require_kind)
    places: ClassVar[frozenset[Place]] = REQUESTS


@dataclass(frozen=True)
class Answer(_Fault):
    """This answer instead of the server's own, which does not hear of the request."""

    status: Annotated[int, Field(strict=True, ge=200, le=599)]
    headers: Annotated[dict[HeaderName, HeaderValue], Field(max_length=20)] = field(default_factory=dict)
    body: Annotated[str, StringConstraints(max_length=100_000)] = ""
    kind: Literal["answer"] = "answer"


@dataclass(frozen=True)
class Stall(_Fault):
    """Nothing, on an open connection: no answer, or (with `after`) no more after so many bytes of its body.

    It lasts until the device gives the connection up, or for so many `seconds`; then all goes on where it stopped.
    """

    after: Bytes | None = None
    seconds: Seconds | None = None
    kind: Literal["stall"] = "stall"


@dataclass(frozen=True)
class Cut(_Fault):
    """The connection is reset: before any answer, or (with `after`) once so many bytes of its body have arrived."""

    after: Bytes | None = None
    kind: Literal["cut"] = "cut"


@dataclass(frozen=True)
class Slow(_Fault):
    """The body comes at so many bytes a second."""

    bytes_per_second: Annotated[int, Field(strict=True, ge=1, le=10**9)]
    kind: Literal["slow"] = "slow"


@dataclass(frozen=True)
class Length(_Fault):
    """Content-Length is off by so many bytes, and the connection is closed in good order behind the true body.

    Above zero: the connection ends before the announced end. Below: the answer looks whole and ends too early; what is
    left of the true body follows on the connection, where the next answer would be.
    """

    off_by: Annotated[int, Field(strict=True, ge=-SURPLUS, le=10**15)]
    kind: Literal["length"] = "length"


@dataclass(frozen=True)
class ContentRange(_Fault):
    """The rest of an artifact comes as it should, under a Content-Range that is wrong.

    The start or end is wrong by one byte, or the total by one; the header is missing, or no range at all. `whole`: the
    range is ignored, and the answer is 200 with the artifact from its first byte. Meets requests with a range only.
    """

    says: Literal["wrong_start", "wrong_end", "wrong_total", "missing", "garbled", "whole"]
    kind: Literal["content_range"] = "content_range"
    places: ClassVar[frozenset[Place]] = ONLY_DOWNLOAD


@dataclass(frozen=True)
class Unsatisfiable(_Fault):
    """416: the range is said to begin behind the end. Meets requests with a range only."""

    kind: Literal["unsatisfiable"] = "unsatisfiable"
    places: ClassVar[frozenset[Place]] = ONLY_DOWNLOAD


@dataclass(frozen=True)
class Corrupt(_Fault):
    """A span of the artifact is not as it was: its bits are flipped where `flip` has ones, or all bytes are `fill`.

    The span counts from the artifact's first byte, also when only the rest is asked for.
    """

    at: Bytes
    length: Annotated[int, Field(strict=True, ge=1, le=10**15)] = 1
    flip: Annotated[int, Field(strict=True, ge=1, le=255)] = 255
    fill: Annotated[int, Field(strict=True, ge=0, le=255)] | None = None
    kind: Literal["corrupt"] = "corrupt"
    places: ClassVar[frozenset[Place]] = ONLY_DOWNLOAD


@dataclass(frozen=True)
class ExpiredLink(_Fault):
    """The deployment comes with a link that expired a second ago, and says so: a download answers 403."""

    kind: Literal["expired_link"] = "expired_link"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class Certificate(_Fault):
    """The TLS handshake shows a certificate that a device must not take.

    It has expired, is not yet valid, is for another name, is of an authority that nobody knows, or of no authority. Who
    asks for the server by the name localhost is spared: there must be a way to take the rule away.
    """

    shows: Literal["expired", "not_yet_valid", "other_name", "unknown_authority", "self_signed"]
    kind: Literal["certificate"] = "certificate"
    places: ClassVar[frozenset[Place]] = frozenset({Place.HANDSHAKE})


@dataclass(frozen=True)
class Clock(_Fault):
    """The server's clock is off by so many seconds while it answers.

    The header Date, the end of links and tokens that it gives, and whether those that it is shown have expired.
    """

    off_by: Annotated[int, Field(strict=True, ge=-FARTHEST, le=FARTHEST)]
    kind: Literal["clock"] = "clock"


@dataclass(frozen=True)
class Replay(_Fault):
    """The deployment leads to this artifact, whether it fits or not.

    It is announced by its own name or the promised one, and for its own device types or the promised ones.
    """

    artifact: ArtifactId
    under: Literal["own", "promised"] = "own"
    types: Literal["own", "promised"] = "own"
    kind: Literal["replay"] = "replay"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class ArbitrarySoftware(_Fault):
    """The promised name, and behind the link another artifact. (`replay` under the promised name and types.)"""

    artifact: ArtifactId
    kind: Literal["arbitrary_software"] = "arbitrary_software"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class Rollback(_Fault):
    """A deployment of an older artifact, truly named and truly signed. (`replay`.)"""

    artifact: ArtifactId
    kind: Literal["rollback"] = "rollback"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class FastForward(_Fault):
    """The deployment has a name that is far ahead; the artifact behind its link is the promised one."""

    name: Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=256)] = "release-999999999"
    kind: Literal["fast_forward"] = "fast_forward"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class IndefiniteFreeze(_Fault):
    """There is never anything to install. (`answer` 204 to who asks for the next deployment.)"""

    kind: Literal["indefinite_freeze"] = "indefinite_freeze"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class EndlessData(_Fault):
    """The artifact comes whole, and zeros follow it for as long as the device reads.

    Content-Length is missing (the body comes in chunks), or is a million gigabytes.
    """

    length: Literal["missing", "huge"] = "missing"
    kind: Literal["endless_data"] = "endless_data"
    places: ClassVar[frozenset[Place]] = ONLY_DOWNLOAD


@dataclass(frozen=True)
class SlowRetrieval(_Fault):
    """The artifact comes, but hardly. (`slow` on downloads.)"""

    bytes_per_second: Annotated[int, Field(strict=True, ge=1, le=10**9)] = 1
    kind: Literal["slow_retrieval"] = "slow_retrieval"
    places: ClassVar[frozenset[Place]] = ONLY_DOWNLOAD


@dataclass(frozen=True)
class ExtraneousDependencies(_Fault):
    """A deployment of an artifact that depends on what the device lacks. (`replay` of such an artifact.)"""

    artifact: ArtifactId
    kind: Literal["extraneous_dependencies"] = "extraneous_dependencies"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class MixAndMatch(_Fault):
    """The download has the head of the promised artifact (manifest, signature, header) and the payload of this one."""

    artifact: ArtifactId
    kind: Literal["mix_and_match"] = "mix_and_match"
    places: ClassVar[frozenset[Place]] = ONLY_DOWNLOAD


@dataclass(frozen=True)
class WrongSoftware(_Fault):
    """An artifact for other devices, announced as one for this device. (`replay` for the promised types.)"""

    artifact: ArtifactId
    kind: Literal["wrong_software"] = "wrong_software"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class MaliciousMirror(_Fault):
    """The link leads to a place that has as many bytes: the promised ones up to the middle, all others flipped.

    Every download by that link is of that place, for as long as the link is good.
    """

    kind: Literal["malicious_mirror"] = "malicious_mirror"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


@dataclass(frozen=True)
class KeyCompromise(_Fault):
    """A deployment of an artifact that another key has signed. (`replay` of such an artifact.)"""

    artifact: ArtifactId
    kind: Literal["key_compromise"] = "key_compromise"
    places: ClassVar[frozenset[Place]] = ONLY_NEXT


Attack = (
    ArbitrarySoftware | Rollback | FastForward | IndefiniteFreeze | EndlessData | SlowRetrieval
    | ExtraneousDependencies | MixAndMatch | WrongSoftware | MaliciousMirror | KeyCompromise
)  # fmt: skip
Plain = (
    Answer | Stall | Cut | Slow | Length | ContentRange | Unsatisfiable | Corrupt | ExpiredLink | Certificate | Clock
    | Replay
)  # fmt: skip
Fault = Attack | Plain
# No answer 204 or 304 has a body, and the length is the server's to say.
BODILESS = frozenset({204, 304})
_FRAMING = frozenset({"content-length", "transfer-encoding", "connection", "date"})


@dataclass(frozen=True)
class Rule:
    """What goes wrong (`fault`), where, for which device (any if none is named), and when.

    Of the requests that come to the rule, the first `skip` pass; after that it is used `times` times, or for as long as
    it is there. One on which the fault has no effect (a cut behind the end of a body) does not use it up.
    """

    fault: Annotated[Fault, Field(discriminator="kind")]
    where: Place = Place.ANY
    device: Annotated[str, StringConstraints(pattern=r"^[^\x00]*$", min_length=1, max_length=64)] | None = None
    skip: Annotated[int, Field(strict=True, ge=0, le=10**6)] = 0
    times: Annotated[int, Field(strict=True, ge=1, le=10**6)] | None = None
    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


@dataclass(frozen=True, slots=True)
class Asked:
    """What is known of a request before it is answered."""

    place: Place
    device: str | None = None
    has_range: bool = False


@dataclass(frozen=True, slots=True)
class InForce:
    """A rule, its number, and how often it was met, is used up, and had its effect."""

    number: int
    rule: Rule
    met: int = 0
    used: int = 0
    fired: int = 0


def flaw(rule: Rule) -> str | None:
    """Why a rule can never be carried out, in one sentence; None if it can."""
    fault = rule.fault
    if rule.where is not Place.ANY and rule.where not in fault.places:
        return f"The fault {fault.kind} is not possible at {rule.where}: only at {', '.join(sorted(fault.places))}."
    if rule.device is not None and (rule.where is Place.AUTH or Place.HANDSHAKE in fault.places):
        return "A rule for one device cannot be met at auth or handshake: there the device is not known yet."
    if isinstance(fault, Length | Clock) and not fault.off_by:
        return f"The fault {fault.kind} must be off by something."
    if isinstance(fault, Answer):
        if fault.body and fault.status in BODILESS:
            return f"An answer {fault.status} has no body."
        if named := sorted(_FRAMING & {name.lower() for name in fault.headers}):
            return f"The header {named[0]} is the server's own: there are other faults for it."
    return None


def applies(rule: Rule, asked: Asked) -> bool:
    """Whether a rule is about such a request."""
    fault = rule.fault
    if asked.place not in fault.places or rule.where not in (Place.ANY, asked.place):
        return False
    if rule.device is not None and rule.device != asked.device:
        return False
    return asked.has_range or not isinstance(fault, ContentRange | Unsatisfiable)


def decide(rules: Sequence[InForce], asked: Asked) -> tuple[tuple[InForce, ...], InForce | None]:
    """The first rule that takes a request, if any does, and what is left of all of them.

    A rule behind the one that takes it is not met by it.
    """
    left = list(rules)
    for place, one in enumerate(rules):
        if not applies(one.rule, asked):
            continue
        left[place] = met = replace(one, met=one.met + 1)
        if one.met >= one.rule.skip and (one.rule.times is None or one.used < one.rule.times):
            left[place] = replace(met, used=one.used + 1)
            return tuple(left), left[place]
    return tuple(left), None


def fire(rules: Sequence[InForce], number: int) -> tuple[InForce, ...]:
    """The rule of this number has had its effect."""
    return tuple(replace(one, fired=one.fired + 1) if one.number == number else one for one in rules)


def give_back(rules: Sequence[InForce], number: int) -> tuple[InForce, ...]:
    """The rule of this number has taken a request on which it had no effect."""
    return tuple(replace(one, used=one.used - 1) if one.number == number else one for one in rules)


def made_of(fault: Fault) -> Fault:
    """The plain fault that an attack comes to; any other is itself."""
    match fault:
        case ArbitrarySoftware(artifact):
            return Replay(artifact, under="promised", types="promised")
        case Rollback(artifact) | ExtraneousDependencies(artifact) | KeyCompromise(artifact):
            return Replay(artifact)
        case WrongSoftware(artifact):
            return Replay(artifact, types="promised")
        case IndefiniteFreeze():
            return Answer(204)
        case SlowRetrieval(rate):
            return Slow(rate)
        case _:
            return fault


def artifacts_of(rules: Sequence[Rule]) -> Mapping[str, str]:
    """The artifacts that rules name, and the kind of fault that needs each."""
    named = ((getattr(rule.fault, "artifact", None), rule.fault.kind) for rule in rules)
    return {artifact: kind for artifact, kind in named if artifact is not None}
