# SPDX-License-Identifier: Apache-2.0
"""Who is let in: devices that introduce themselves, and what the operator decides about them."""

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import Connection

from server_stub.domain.deployments import Author, Status, move
from server_stub.domain.devices import AuthSet, AuthStatus, Device, Introduction, decide, introduce
from server_stub.domain.limits import Limits
from server_stub.errors import Conflict, NotFound, TooMany, Unprocessable
from server_stub.jobs.settle import close_entry
from server_stub.storage import devices, entries

# Devices accepted in one transaction.
MOST_ACCEPTED = 200


@dataclass(frozen=True, slots=True)
class Admission:
    """The auth set of a device that has introduced itself; it gets a token if that is accepted."""

    device: str
    auth_set: str
    status: AuthStatus


def known(connection: Connection, request: Introduction) -> Admission | None:
    """What is known of the device already, if nothing need be written for it."""
    device = devices.by_identity(connection, request.identity)
    if device is None:
        return None
    mine = _with_key(devices.auth_sets_of(connection, [device.id]), request.pubkey)
    if mine is None or mine.status is AuthStatus.PREAUTHORIZED:
        return None
    return Admission(device.id, mine.id, mine.status)


def admit(connection: Connection, request: Introduction, now: str, limits: Limits, *, accept_new: bool) -> Admission:
    """Note a device's introduction; raises TooMany for one that shows ever new keys, and if too many wait already."""
    device = devices.by_identity(connection, request.identity) or devices.create(connection, request.identity, now)
    candidate = AuthSet(str(uuid.uuid4()), device.id, request.pubkey, AuthStatus.PENDING, now)
    sets = devices.auth_sets_of(connection, [device.id])
    accept_new = accept_new and _has_room(connection, limits.devices)
    changed = introduce(sets, candidate, accept_new=accept_new)
    waits = any(one.status is AuthStatus.PENDING for one in changed)
    if waits and devices.count_waiting(connection, limits.waiting) >= limits.waiting:
        raise TooMany("Too many devices wait for the operator already: come back later.")
    if changed:
        devices.save_auth_sets(connection, device.id, changed, now)
        sets = devices.auth_sets_of(connection, [device.id])
    mine = _with_key(sets, request.pubkey)
    assert mine is not None
    return Admission(device.id, mine.id, mine.status)


def preauthorize(connection: Connection, identity: str, pubkey: str, now: str, *, force: bool) -> Device:
    """Let a device in before it is there; with `force`, also a further key of one that is known."""
    device = devices.by_identity(connection, identity)
    if device is not None and not force:
        raise Conflict("A device with this identity is already known: accept its key instead.")
    device = device or devices.create(connection, identity, now)
    sets = devices.auth_sets_of(connection, [device.id])
    if _with_key(sets, pubkey) is not None:
        raise Conflict("This key of the device is already known: accept it instead.")
    auth_set = AuthSet(str(uuid.uuid4()), device.id, pubkey, AuthStatus.PREAUTHORIZED, now)
    devices.save_auth_sets(connection, device.id, [auth_set], now)
    return device


def decide_about(
    connection: Connection, device: str, auth_set: str, status: AuthStatus, now: str, most_devices: int
) -> None:
    sets = devices.auth_sets_of(connection, [device])
    chosen = among(sets, auth_set)
    is_new = all(one.status is not AuthStatus.ACCEPTED for one in sets)
    if status is AuthStatus.ACCEPTED and is_new and not _has_room(connection, most_devices):
        raise Unprocessable(f"{most_devices} devices are accepted, and that is the limit of this server.")
    devices.save_auth_sets(connection, device, decide(sets, chosen.id, status), now)


def accept_pending(connection: Connection, wanted: Sequence[str] | None, now: str, most_devices: int) -> list[str]:
    """Accept the newest pending key of these devices, or of those that wait; the devices that were accepted.

    Of many, a part: others have to write too. Ask again until there is none.
    """
    accepted = []
    for device, sets in devices.pending(connection, wanted, MOST_ACCEPTED).items():
        newest = [one for one in sets if one.status is AuthStatus.PENDING][-1]
        decide_about(connection, device, newest.id, AuthStatus.ACCEPTED, now, most_devices)
        accepted.append(device)
    return accepted


def dismiss(connection: Connection, device: str, auth_set: str, now: str) -> None:
    """Forget one key of a device, and the device with its last."""
    sets = devices.auth_sets_of(connection, [device])
    chosen = among(sets, auth_set)
    devices.remove_auth_set(connection, device, chosen.id, now)
    if len(sets) == 1:
        decommission(connection, device, now)


def decommission(connection: Connection, device: str, now: str) -> None:
    """Forget a device; its parts in deployments end, and are kept."""
    if devices.by_id(connection, device) is None:
        raise NotFound("There is no such device.")
    for entry in entries.unfinished(connection, device):
        close_entry(connection, entry, move(entry, Status.DECOMMISSIONED, None, now), now, Author.OPERATOR)
    devices.remove(connection, device)


def among(sets: Sequence[AuthSet], auth_set: str) -> AuthSet:
    found = next((one for one in sets if one.id == auth_set), None)
    if found is None:
        raise NotFound("There is no such auth set of this device.")
    return found


def _with_key(sets: Sequence[AuthSet], pubkey: str) -> AuthSet | None:
    return next((one for one in sets if one.pubkey == pubkey), None)


def _has_room(connection: Connection, most_devices: int) -> bool:
    return not most_devices or devices.count(connection, AuthStatus.ACCEPTED) < most_devices
