# SPDX-License-Identifier: Apache-2.0
"""What our updater has stored about an update under way, read from the bytes of its file and without its help.

The file has two places of 128 KiB, each with a record: magic `bootprf1`, CRC-32, length and running number (all
little-endian, `<8sIIQ`), then the record, JSON.  The CRC is over length and number (`<IQ`) and the record.  The whole
record with the highest number counts (ADR 8).
"""

from __future__ import annotations

import hashlib
import json
import struct
import zlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

PATH: Final = "mender/bootproof-store"  # on the data partition
MAGIC: Final = b"bootprf1"
HEAD: Final = struct.Struct("<8sIIQ")
PLACE: Final = 128 * 1024
# Of an update: what grows with each piece, counts, or is another one in each answer of the server.
PASSING: Final = frozenset({"progress", "stores", "uri"})


@dataclass(frozen=True)
class UpdateStore:
    """What the updater would read at its next start.

    Attributes:
        whole: which of the two places hold a whole record.
        state: the step that was begun last; None: no update is under way.
        outcome: what had become of it by then.
        known: whether it is known what the payload is, without which a download is not gone on with.
        going_on: whether a part of the payload is durable, and it is known how to go on after it.
        artifact: what the device calls itself.
        owes: whether the server has still to be told how an update ended.
        rest: a digest of everything else that a start goes by.
        target, durable: the slot that is written, and how many bytes of it are noted as durable.  Not compared.
    """

    whole: tuple[bool, bool]
    state: str | None = None
    outcome: str = ""
    known: bool = False
    going_on: bool = False
    artifact: str = ""
    owes: bool = False
    rest: str = ""
    target: str = field(default="", compare=False)
    durable: int = field(default=0, compare=False)


def read_store(content: bytes | None) -> UpdateStore | None:
    """What the file holds; None if there is no file.  A damaged one has no whole place."""
    if content is None:
        return None
    places = [_record(content, at) for at in (0, PLACE)]
    whole = (places[0] is not None, places[1] is not None)
    newest = max((one for one in places if one is not None), key=lambda one: one[0], default=None)
    if newest is None:
        return UpdateStore(whole)
    device = newest[1]
    update = device.get("update") or {}
    return UpdateStore(
        whole,
        state=update.get("state"),
        outcome=update.get("outcome", ""),
        known=bool(update.get("payload_type")),
        going_on=bool(update.get("progress")),
        artifact=device.get("provides", {}).get("artifact_name", ""),
        owes=bool(device.get("untold")),
        rest=_rest(device, update),
        target=update.get("target", ""),
        durable=(update.get("progress") or {}).get("done", 0),
    )


def _rest(device: Mapping[str, Any], update: Mapping[str, Any]) -> str:
    """A SHA-256 over the record without what is passing, in hexadecimal."""
    lasting = {name: value for name, value in update.items() if name not in PASSING}
    return hashlib.sha256(json.dumps({**device, "update": lasting}, sort_keys=True).encode()).hexdigest()


def _record(content: bytes, at: int) -> tuple[int, dict[str, Any]] | None:
    """The number and the content of the record in one place; None if it is not whole."""
    if len(content) < at + HEAD.size:
        return None
    magic, checksum, length, number = HEAD.unpack_from(content, at)
    record = content[at + HEAD.size : at + HEAD.size + length]
    if magic != MAGIC or len(record) != length or length > PLACE - HEAD.size:
        return None
    if zlib.crc32(struct.pack("<IQ", length, number) + record) != checksum:
        return None
    try:
        device = json.loads(record)
    except ValueError:
        return None
    return (number, device) if isinstance(device, dict) else None
