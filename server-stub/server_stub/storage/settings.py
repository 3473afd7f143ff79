# SPDX-License-Identifier: Apache-2.0
"""What all servers on one database share: the key under every token and download link."""

import base64
import secrets

from sqlalchemy import Connection, insert, select

from server_stub.storage.schema import settings

_SECRET = "secret"
_LENGTH = 64


def secret(connection: Connection, former: bytes | None = None) -> bytes:
    """The key, made at the first call; `former` is what an older server kept in a file, so that its tokens count on."""
    found = connection.execute(select(settings.c.value).where(settings.c.key == _SECRET)).scalar_one_or_none()
    if found is None:
        made = former or secrets.token_bytes(_LENGTH)
        connection.execute(insert(settings).values(key=_SECRET, value=base64.b64encode(made).decode()))
        return made
    return base64.b64decode(found)
