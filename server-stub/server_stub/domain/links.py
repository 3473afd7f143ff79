# SPDX-License-Identifier: Apache-2.0
"""Download links: unguessable, bound to one artifact and one device, expiring.

A device sends no token to the place it downloads from, so the link itself carries the permission.
"""

import hashlib
import hmac
from datetime import datetime, timedelta

from server_stub.errors import Forbidden

LIFE = timedelta(hours=24)
# In the place of a device: a link that the operator asked for.
OPERATOR = "operator"


def sign(secret: bytes, artifact: str, device: str, expire: datetime) -> str:
    until = int(expire.timestamp())
    return f"{device}.{until}.{_mac(secret, artifact, device, until)}"


def device_of(secret: bytes, artifact: str, token: str, now: datetime) -> str:
    """The device a valid link was made for."""
    device, _, rest = token.partition(".")
    until, _, mac = rest.partition(".")
    if not (until.isascii() and until.isdigit() and len(until) <= 12 and mac.isascii()):
        raise Forbidden("The download link is not one of this server's.")
    if not hmac.compare_digest(mac, _mac(secret, artifact, device, int(until))):
        raise Forbidden("The download link is not one of this server's.")
    if now.timestamp() >= int(until):
        raise Forbidden("The download link has expired: ask for the deployment again.")
    return device


def _mac(secret: bytes, artifact: str, device: str, until: int) -> str:
    # The first word keeps these signatures apart from those of the tokens under the same secret.
    return hmac.new(secret, f"download {artifact} {device} {until}".encode(), hashlib.sha256).hexdigest()
