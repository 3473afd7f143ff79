# SPDX-License-Identifier: Apache-2.0
"""How much a client may send, ask and hold. The owner's numbers; what is not said here has no limit."""

from dataclasses import dataclass

MIB = 1 << 20
GIB = 1 << 30


@dataclass(frozen=True, slots=True)
class Limits:
    """Sizes in bytes, rates per minute, times in seconds; 0 devices means any number."""

    artifact: int = 10 * GIB
    payload: int = 64 * GIB
    """unpacked"""
    body: int = MIB
    bodies: int = 256 * MIB
    """of all requests at once that are not small"""
    header: int = 32 * 1024
    devices: int = 0
    waiting: int = 20_000
    """keys that wait for the operator: anybody may bring one"""
    connections: int = 20_000
    device_requests: int = 600
    """of one device"""
    introductions: int = 60_000
    """of one address: a whole fleet may be behind it"""
    logins: int = 20
    """that fail, of one address"""
    patience: float = 30.0
    """for a request's header, and between two pieces of its body"""
