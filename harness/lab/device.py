# SPDX-License-Identifier: Apache-2.0
"""One device as it leaves the factory: its data partition with identity, trust and the owner's files."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path

import paramiko

from harness.board import HOST_FOR_GUESTS
from harness.board.machine import Media
from harness.storage import Extent, ExtentMap
from images.disk import provision
from images.layout import Layout

KEEPSAKE_BYTES = 200_000


@dataclass(frozen=True)
class Trust:
    """What a device is told to trust, and where its server is."""

    server_port: int
    server_ca: bytes
    verify_key: bytes
    ssh_key: str  # a line of authorized_keys
    device_type: str


def mac_of(seed: int) -> str:
    """A network address within the range for private use."""
    return "52:54:00:" + ":".join(f"{byte:02x}" for byte in random.Random(seed).randbytes(3))


def ssh_identity() -> tuple[paramiko.PKey, str]:
    """A key for this run, and its line for authorized_keys."""
    key = paramiko.ECDSAKey.generate()
    return key, f"{key.get_name()} {key.get_base64()} bootproof\n"


def keepsakes(seed: int) -> dict[str, bytes]:
    """Files of the owner, by path on the data partition, which no update may touch."""
    return {
        "keepsake/letter.txt": f"This must be here after every update (seed {seed}).\n".encode(),
        "keepsake/photo.bin": random.Random(seed).randbytes(KEEPSAKE_BYTES),
    }


def configuration(trust: Trust) -> bytes:
    """The device's own part of the configuration, in Mender's JSON; the times are short, so that a run is."""
    return json.dumps(
        {
            "ServerURL": f"https://{HOST_FOR_GUESTS}:{trust.server_port}",
            "ServerCertificate": "/data/mender/server-ca.pem",
            "ArtifactVerifyKey": "/data/mender/artifact-verify-key.pem",
            "UpdatePollIntervalSeconds": 1,
            "InventoryPollIntervalSeconds": 3600,
            "RetryPollIntervalSeconds": 1,
            "RetryPollCount": 5,
        },
        indent=1,
    ).encode()


def provisioned(base: Path, layout: Layout, trust: Trust, seed: int, folder: Path) -> Media:
    """The factory's media with this device's data partition."""
    files = {
        "mender/mender.conf": (configuration(trust), 0o600),
        "mender/device_type": (f"device_type={trust.device_type}\n".encode(), 0o644),
        "mender/server-ca.pem": (trust.server_ca, 0o644),
        "mender/artifact-verify-key.pem": (trust.verify_key, 0o644),
        "ssh/authorized_keys": (trust.ssh_key.encode(), 0o600),
        **{path: (content, 0o644) for path, content in keepsakes(seed).items()},
    }
    place = layout.partition("data")
    image = folder / "data-factory.img"
    provision(files, image, size=place.size)
    return Media(base, ExtentMap([Extent(place.start, place.size, image, 0)]))
