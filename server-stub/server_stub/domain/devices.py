# SPDX-License-Identifier: Apache-2.0
"""Who may talk to the server: identities, auth sets and their statuses. Refuses to know where they are kept.

A device is its identity; an auth set is an identity together with one key. A new key for a known identity is a
new, pending auth set: a stolen identity alone never gets a token.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from server_stub.domain import jsontext, keys
from server_stub.errors import Malformed, TooMany


class AuthStatus(StrEnum):
    ACCEPTED = "accepted"
    PREAUTHORIZED = "preauthorized"
    PENDING = "pending"
    REJECTED = "rejected"


# A device without any auth set.
NO_AUTH = "noauth"
LONGEST_IDENTITY = 2048
# A stolen identity could otherwise bring new keys for ever.
MOST_AUTH_SETS = 20


@dataclass(frozen=True, slots=True)
class AuthSet:
    id: str
    device_id: str
    pubkey: str
    status: AuthStatus
    ts: str


@dataclass(frozen=True, slots=True)
class Device:
    id: str
    identity: str
    status: str
    created_ts: str
    updated_ts: str
    check_in_ts: str | None
    inventory_ts: str | None
    group: str | None


@dataclass(frozen=True, slots=True)
class Introduction:
    """What a device says of itself when it asks for a token."""

    identity: str
    pubkey: str


def read_introduction(body: bytes, signature: str | None) -> Introduction:
    if not signature:
        raise Malformed("The header X-MEN-Signature is missing.")
    request = jsontext.parse_object(body, "The body")
    identity = read_identity(jsontext.parse_object(jsontext.text_of("id_data", request), "id_data"))
    key = keys.parse_public_key(jsontext.text_of("pubkey", request))
    keys.verify(key, signature, body)
    return Introduction(identity, keys.canonical_pem(key))


def read_identity(attributes: Mapping[str, Any]) -> str:
    """One text per identity, whatever the order of its attributes."""
    if not attributes:
        raise Malformed("The identity has no attributes.")
    identity = jsontext.canonical(jsontext.checked(attributes, "The identity"))
    if len(identity.encode()) > LONGEST_IDENTITY:
        raise Malformed(f"The identity is longer than {LONGEST_IDENTITY} bytes.")
    return identity


def introduce(known: Sequence[AuthSet], candidate: AuthSet, *, accept_new: bool) -> tuple[AuthSet, ...]:
    """The auth sets that change when a device introduces itself with the candidate's key."""
    mine = next((one for one in known if one.pubkey == candidate.pubkey), None)
    if mine is None:
        if len(known) >= MOST_AUTH_SETS:
            raise TooMany("This device has shown too many keys: remove some of them first.")
        # Under the laboratory's policy a new device is let in; a new key of a known device never is.
        status = AuthStatus.ACCEPTED if accept_new and not known else AuthStatus.PENDING
        return (replace(candidate, status=status),)
    if mine.status is AuthStatus.PREAUTHORIZED:
        return decide(known, mine.id, AuthStatus.ACCEPTED)
    return ()


def decide(known: Sequence[AuthSet], chosen: str, status: AuthStatus) -> tuple[AuthSet, ...]:
    """The auth sets that change when one gets a status: a device has at most one accepted key."""
    changed = []
    for one in known:
        if one.id == chosen and one.status is not status:
            changed.append(replace(one, status=status))
        elif one.id != chosen and status is AuthStatus.ACCEPTED and one.status is AuthStatus.ACCEPTED:
            changed.append(replace(one, status=AuthStatus.REJECTED))
    return tuple(changed)


def device_status(statuses: Iterable[AuthStatus]) -> str:
    """The best of its auth sets, in the order in which AuthStatus names them."""
    held = set(statuses)
    return next((status for status in AuthStatus if status in held), NO_AUTH)
