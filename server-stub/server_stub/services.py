# SPDX-License-Identifier: Apache-2.0
"""What a request may use: handed over as one value, so that nothing in the server is global."""

from dataclasses import dataclass, field

from server_stub.lab.journal import Journal
from server_stub.storage.blobs import Blobs
from server_stub.storage.database import Database


@dataclass(frozen=True, slots=True)
class Services:
    database: Database
    blobs: Blobs
    secret: bytes
    accept_all: bool
    journal: Journal = field(default_factory=Journal)
    # When each device last asked for a deployment. Kept here and written down only at a clean end: a poll that
    # finds nothing must not cost a flush of the disk.
    check_ins: dict[str, str] = field(default_factory=dict)
