# SPDX-License-Identifier: Apache-2.0
"""Our own updater's daemon with our own update modules, on this machine, in the place of Debian's (foreign.py)."""

import json
import os
import sys
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests.protocol.foreign import DEVICE_TYPE, daemon
from tests.unit.small_device import ROOT
from updater.modules.__main__ import main as put_modules


@dataclass(frozen=True)
class OwnClient:
    """The daemon; everything of it lies below `folder`."""

    folder: Path
    version = "bootproof-updater"

    def prepare(self, url: str, ca: str, artifact: str = "old") -> None:
        configuration = {
            "ServerURL": url,
            "ServerCertificate": ca,
            "UpdatePollIntervalSeconds": 1,
            "InventoryPollIntervalSeconds": 1,
            "RetryPollIntervalSeconds": 1,
        }
        for name in ("conf", "data", "share/identity"):
            (self.folder / name).mkdir(parents=True)
        (self.folder / "conf/mender.conf").write_text(json.dumps(configuration))
        (self.folder / "conf/artifact_info").write_text(f"artifact_name={artifact}\n")
        (self.folder / "data/device_type").write_text(f"device_type={DEVICE_TYPE}\n")
        identity = self.folder / "share/identity/mender-device-identity"
        identity.write_text(f"#!/bin/sh\necho mac={uuid.uuid4().hex}\n")
        identity.chmod(0o755)
        assert put_modules([str(self.folder / "share/modules/v3")]) == 0

    @contextmanager
    def running(self) -> Iterator[None]:
        """The daemon at work; ended afterwards."""
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "MENDER_CONF_DIR": str(self.folder / "conf"),
            "MENDER_DATASTORE_DIR": str(self.folder / "data"),
            "MENDER_DATA_DIR": str(self.folder / "share"),
        }
        words = [sys.executable, "-m", "updater", "--log-level", "debug", "daemon"]
        with daemon(words, environment, self.folder / "log"):
            yield

    def log(self) -> str:
        return (self.folder / "log").read_text(errors="replace")
