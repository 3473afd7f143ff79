# SPDX-License-Identifier: Apache-2.0
"""A device in a scratch directory: what lies on it, its updater as a process, and what is done to its store."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import serialization as form
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from harness.process import Process
from images.run import environment
from tests.conformance.cases import Dialect
from tests.conformance.conditions import Conditions
from tests.conformance.scripts import MODULE, Places, make_unwritable, module, rootfs_scripts
from updater.recordfile import RecordFile

ROOT = Path(__file__).parents[2]
TIME_SCALE = 0.01
OTHER_FORMAT = 9876
# Seconds of the updater's clock, which is faster than ours: a hundredth of them is waited for.
TIMES = {
    "UpdatePollIntervalSeconds": 100,
    "InventoryPollIntervalSeconds": 28800,
    "RetryPollIntervalSeconds": 30,
    "RetryPollCount": 10,
}
PATIENCE, IMPATIENCE = 6000, 400  # for a module or script: a loaded machine must not look like one that hangs


@dataclass(frozen=True)
class Device:
    """One device; its folder is also where module and scripts leave their traces."""

    folder: Path
    dialect: Dialect
    identity: dict[str, str] = field(default_factory=lambda: {"mac": uuid.uuid4().hex})
    device_type: str = field(default_factory=lambda: f"type-{uuid.uuid4().hex[:12]}")

    @property
    def places(self) -> Places:
        return Places(self.folder / "seen")

    @property
    def data(self) -> Path:
        return self.folder / "data"

    @property
    def store(self) -> Path:
        return self.data / "bootproof-store"

    @property
    def errors(self) -> Path:
        """What the updater wrote to its standard error, all starts together."""
        return self.folder / "stderr"

    def furnish(self, conditions: Conditions, server_url: str, ca: Path) -> str:
        """Put everything in its place; returns the public key, for the server to know the device by."""
        self.data.mkdir(parents=True)
        self.places.done.mkdir(parents=True)
        self.places.journal.touch()
        conf, share = self.folder / "conf", self.folder / "share"
        for name, text in rootfs_scripts(conditions, self.places, self.store).items():
            _write_program(conf / "scripts" / name, text)
        (conf / "scripts" / "version").write_text("3")
        (conf / "artifact_info").write_text("artifact_name=old_name\n")
        (conf / "device_type").write_text(f"device_type={self.device_type}\n")
        _write_program(share / "modules" / "v3" / MODULE, module(conditions, self.places))
        told = "".join(f"echo {name}={value}\n" for name, value in self.identity.items())
        _write_program(share / "identity" / "mender-device-identity", f"#!/bin/sh\n{told}")
        (share / "inventory").mkdir()
        patience = IMPATIENCE if conditions.hangs else PATIENCE
        config = {
            **TIMES,
            "ServerURL": server_url,
            "ServerCertificate": str(ca),
            "DeviceTypeFile": str(conf / "device_type"),
            "ModuleTimeoutSeconds": patience,
            "StateScriptTimeoutSeconds": patience,
        }
        (conf / "mender.conf").write_text(json.dumps(config))
        return self._make_key()

    def start(self) -> Process:
        """The updater's daemon."""
        words = ["--time-scale", str(TIME_SCALE), "--dialect", str(self.dialect), "daemon"]
        return Process(_updater(*words), stderr=self.errors, env=self._environment())

    def artifact_name(self) -> str:
        """What the updater says is installed."""
        env = environment(self._environment())
        shown = subprocess.run(_updater("show-artifact"), capture_output=True, text=True, env=env, timeout=60)
        return shown.stdout.strip() if shown.returncode == 0 else f"<{shown.stderr.strip()}>"

    def give_store_to_another_format(self) -> None:
        """As after an update client whose store has another format: it has put the old content aside."""
        shutil.copyfile(self.store, self.store.with_name("bootproof-store-uncommitted"))
        self._edit_store(lambda stored: stored | {"format": OTHER_FORMAT})

    def give_control_map(self, control_map: str) -> None:
        self._edit_store(lambda stored: stored | {"update_control_map": json.loads(control_map)})

    def make_store_unwritable(self) -> None:
        subprocess.run(["sh", "-ec", make_unwritable(self.store)], check=True)

    def make_store_writable(self) -> None:
        """Undo it, whoever did it."""
        if str(self.store) in Path("/proc/self/mountinfo").read_text().split():
            subprocess.run(["umount", str(self.store)], check=True)

    def end_programs(self) -> None:
        """End modules and scripts that outlived the updater."""
        with contextlib.suppress(FileNotFoundError):
            for pid in map(int, self.places.programs.read_text().split()):
                # By now the number may be somebody else's.
                with contextlib.suppress(OSError):
                    if os.fsencode(self.folder) in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(pid, signal.SIGKILL)

    def _environment(self) -> dict[str, str]:
        return {
            "PYTHONPATH": str(ROOT),
            "MENDER_CONF_DIR": str(self.folder / "conf"),
            "MENDER_DATASTORE_DIR": str(self.data),
            "MENDER_DATA_DIR": str(self.folder / "share"),
        }

    def _make_key(self) -> str:
        key = Ed25519PrivateKey.generate()
        path = self.data / "mender-agent.pem"
        path.write_bytes(key.private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption()))
        path.chmod(0o600)
        return key.public_key().public_bytes(form.Encoding.PEM, form.PublicFormat.SubjectPublicKeyInfo).decode()

    def _edit_store(self, edit: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
        file = RecordFile(self.store)
        file.write(json.dumps(edit(json.loads(file.read() or b"{}"))).encode())


def _updater(*words: str) -> list[str]:
    return [sys.executable, "-m", "updater", *words]


def _write_program(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(0o755)
